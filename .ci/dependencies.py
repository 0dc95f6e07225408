"""Bill of materials of mpserve as installed here, and a look for known faults in it.

    python .ci/dependencies.py SBOM_FILE

Writes CycloneDX 1.5 JSON with what `pip install 'mpserve[all]'` brings, in the versions that are
installed here, and asks osv.dev, which has PyPI's advisories, which of them have known faults. Exit
code 1 when one has. Where it can not be asked, that is told, and is no failure.
"""

import json
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
UNUSUAL = {"dev", "all", "pytorch"}  # not for users, the others again, and gigabytes
URL = "https://api.osv.dev/v1/querybatch"
SECONDS = 10.0


def closure(project: dict[str, Any]) -> dict[str, Distribution]:
    """Return the installed distributions that a project with all its extras needs, by name."""
    optional = project["optional-dependencies"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    wanted += [
        Requirement(text) for name in optional if name not in UNUSUAL for text in optional[name]
    ]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen or name == project["name"]:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # an extra that is not installed here
            continue
        wanted.extend(needs(found[name], extras))
    return found


def needs(package: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    """Give what a distribution needs on this machine with these extras."""
    for text in package.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def sbom(project: dict[str, Any], packages: dict[str, Distribution]) -> dict[str, Any]:
    """Return the bill of materials as CycloneDX has it."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": project["name"],
                "version": project["version"],
                "licenses": [{"expression": project["license"]}],
            }
        },
        "components": [component(name, package) for name, package in sorted(packages.items())],
    }


def component(name: str, package: Distribution) -> dict[str, Any]:
    """Return one row of the bill."""
    row: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": package.version,
        "purl": f"pkg:pypi/{name}@{package.version}",
    }
    license_name = package.metadata.get("License-Expression")
    if license_name:
        row["licenses"] = [{"expression": license_name}]
    return row


def faults(packages: dict[str, Distribution]) -> dict[str, list[str]]:
    """Return the ids of the faults that are known in these versions, by package; one question."""
    names = sorted(packages)
    queries = [
        {"package": {"ecosystem": "PyPI", "name": name}, "version": packages[name].version}
        for name in names
    ]
    question = urllib.request.Request(
        URL,
        data=json.dumps({"queries": queries}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(question, timeout=SECONDS) as answer:
        results = json.load(answer)["results"]
    return {
        name: [one["id"] for one in result["vulns"]]
        for name, result in zip(names, results, strict=True)
        if result.get("vulns")
    }


def main(sbom_file: Path) -> int:
    """Write the bill, print what is known; return the exit code."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    packages = closure(project)
    sbom_file.parent.mkdir(parents=True, exist_ok=True)
    sbom_file.write_text(json.dumps(sbom(project, packages), indent=2) + "\n")
    print(f"{sbom_file}: {len(packages)} packages")
    try:
        found = faults(packages)
    except (OSError, ValueError, KeyError) as error:
        print(f"{URL} can not be asked, so faults are not looked for: {error}")
        return 0
    for name, known in found.items():
        print(f"{name} {packages[name].version}: {', '.join(known)}")
    print(f"{len(found)} of them have known faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
