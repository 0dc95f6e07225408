"""A digits classifier: trained, and timed without any server. Run by a server's own Python, whose
libraries it measures.

`python digits.py train PATH` writes it; `python digits.py cost PATH` prints the CPU nanoseconds of
one `predict` of one row. It imports nothing of the harness, which that Python may not be able to
import.
"""

import sys
import time

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

ROUNDS = 9
CALLS = 300


def train(path: str) -> None:
    """Fit a support-vector classifier to scikit-learn's own digits and store it."""
    images, labels = load_digits(return_X_y=True)
    joblib.dump(SVC(gamma=0.001).fit(images, labels), path)


def cost(path: str) -> None:
    """Print the median over rounds of the thread's CPU time for one row."""
    classifier = joblib.load(path)
    row = np.asarray(load_digits(return_X_y=True)[0][:1])
    spent = []
    for _ in range(ROUNDS):
        began_ns = time.thread_time_ns()
        for _ in range(CALLS):
            classifier.predict(row)
        spent.append((time.thread_time_ns() - began_ns) / CALLS)
    sys.stdout.write(f"{sorted(spent)[ROUNDS // 2]:.0f}\n")


if __name__ == "__main__":
    {"train": train, "cost": cost}[sys.argv[1]](sys.argv[2])
