"""A digits classifier: trained, and timed without any server. Run by a server's own Python, whose
libraries it measures.

`python digits.py train PATH` writes it; `python digits.py cost PATH ROWS` prints the CPU
nanoseconds of one row, when `predict` is called with so many. It imports nothing of the harness,
which that Python may not be able to import.
"""

import sys
import time
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

ROUNDS = 9
PREDICTED_ROWS = 320  # in one round, at least


def train(path: str) -> None:
    """Fit a support-vector classifier to scikit-learn's own digits and store it."""
    images, labels = load_digits(return_X_y=True)
    gamma: Any = 0.001  # the library's own stub knows words alone
    joblib.dump(SVC(gamma=gamma).fit(images, labels), path)


def cost(path: str, rows: str) -> None:
    """Print the median over rounds of the thread's CPU time for one row of a call with `rows`."""
    classifier = joblib.load(path)
    # The digit that the load generators send, again and again.
    batch = np.repeat(np.asarray(load_digits(return_X_y=True)[0][:1]), int(rows), axis=0)
    calls = -(-PREDICTED_ROWS // len(batch))
    spent = []
    for _ in range(ROUNDS):
        began_ns = time.thread_time_ns()
        for _ in range(calls):
            classifier.predict(batch)
        spent.append((time.thread_time_ns() - began_ns) / (calls * len(batch)))
    sys.stdout.write(f"{sorted(spent)[ROUNDS // 2]:.0f}\n")


if __name__ == "__main__":
    {"train": train, "cost": cost}[sys.argv[1]](*sys.argv[2:])
