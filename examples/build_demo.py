"""Builds a model repository to try mpserve with.

    python examples/build_demo.py FOLDER

Makes three models in FOLDER: `simple` (a Triton `model.py`), `mnist-svm` (scikit-learn) and
`mushroom-xgboost` (XGBoost). The same seeds give the same models; nothing is downloaded. Models
that are there already are replaced.
"""

import argparse
import json
import shutil
from pathlib import Path

import joblib
import numpy as np
import xgboost
from sklearn.datasets import load_digits
from sklearn.svm import SVC

HERE = Path(__file__).parent
VERSION = "v0.1.0"
SEED = 20240229

# How many values each attribute of a mushroom has, in the order of the UCI data set "Mushroom".
VALUE_COUNTS = (6, 4, 10, 2, 9, 4, 3, 2, 12, 2, 7, 4, 4, 9, 9, 2, 4, 3, 8, 9, 6, 7)
ODOR, GILL_SIZE, SPORE_COLOR = 4, 7, 19
HARMLESS_ODORS = (0, 1, 6)
MUSHROOMS = 4000


def build(destination: Path) -> None:
    """Build all models below a folder."""
    destination.mkdir(parents=True, exist_ok=True)
    build_simple(destination / "simple")
    build_mnist_svm(destination / "mnist-svm")
    build_mushroom_xgboost(destination / "mushroom-xgboost")


def build_simple(folder: Path) -> None:
    """Copy the Triton model that lies beside this file."""
    shutil.copytree(
        HERE / "simple",
        folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )


def build_mnist_svm(folder: Path) -> None:
    """Train a support vector machine on the first half of scikit-learn's digits."""
    images, labels = digits()
    half = len(images) // 2
    model = SVC(gamma=0.001, random_state=SEED)
    model.fit(images[:half], labels[:half])
    folder.mkdir(exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    write_settings(folder, implementation="mlserver_sklearn.SKLearnModel", uri="./model.joblib")


def build_mushroom_xgboost(folder: Path) -> None:
    """Train boosted trees to tell poisonous mushrooms from edible ones."""
    features, is_poisonous = mushrooms()
    model = xgboost.XGBClassifier(
        n_estimators=20, max_depth=4, learning_rate=0.5, random_state=SEED, n_jobs=1
    )
    model.fit(features, is_poisonous)
    folder.mkdir(exist_ok=True)
    model.save_model(folder / "model.json")
    write_settings(folder, implementation="mlserver_xgboost.XGBoostModel", uri="./model.json")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images of digits, float64 [1797, 64], and which digits they are, int64 [1797]."""
    data = load_digits()
    return data.data, data.target


def mushrooms() -> tuple[np.ndarray, np.ndarray]:
    """Return made-up mushrooms, float32 [4000, 126], and which are poisonous, int64 [4000].

    Each attribute is one-hot, as in the data set that XGBoost's own examples use. The odor decides,
    but for odorless ones, where the color of the spores and the size of the gills do.
    """
    random = np.random.default_rng(SEED)
    attributes = np.stack([random.integers(count, size=MUSHROOMS) for count in VALUE_COUNTS], 1)
    one_hot = [
        np.eye(count, dtype=np.float32)[attributes[:, index]]
        for index, count in enumerate(VALUE_COUNTS)
    ]
    smells_harmless = np.isin(attributes[:, ODOR], HARMLESS_ODORS)
    looks_harmful = (attributes[:, SPORE_COLOR] == 5) | (
        (attributes[:, SPORE_COLOR] == 7) & (attributes[:, GILL_SIZE] == 1)
    )
    is_poisonous = ~smells_harmless | looks_harmful
    return np.concatenate(one_hot, axis=1), is_poisonous.astype(np.int64)


def write_settings(folder: Path, *, implementation: str, uri: str) -> None:
    """Write the `model-settings.json` of a model."""
    settings = {
        "name": folder.name,
        "implementation": implementation,
        "parameters": {"uri": uri, "version": VERSION},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings, indent=2) + "\n")


def sample_requests() -> dict[str, dict]:
    """Return a request for each model, as the files in `examples/requests` have it."""
    images, _ = digits()
    features, _ = mushrooms()
    ones = {"shape": [1, 16], "datatype": "INT32", "data": [1] * 16}
    counted = {"shape": [1, 16], "datatype": "INT32", "data": list(range(16))}
    return {
        "simple": {"inputs": [{"name": "INPUT0", **counted}, {"name": "INPUT1", **ones}]},
        "mnist-svm": {"inputs": [matrix_input("predict", images[-1:])]},
        "mushroom-xgboost": {"inputs": [matrix_input("predict", features[-1:])]},
    }


def matrix_input(name: str, matrix: np.ndarray) -> dict:
    """Return a matrix as a tensor of a request."""
    return {
        "name": name,
        "shape": list(matrix.shape),
        "datatype": "FP32",
        "data": matrix.ravel().tolist(),
    }


def main() -> None:
    """Build into the folder on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the model repository is made")
    arguments = parser.parse_args()
    build(arguments.folder)
    print(f"simple, mnist-svm and mushroom-xgboost are in {arguments.folder}")


if __name__ == "__main__":
    main()
