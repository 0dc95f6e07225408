import pytest

from mpserve.model.triton.config import AllVersions, LatestVersions, SpecificVersions, VersionPolicy
from mpserve.repository.version_policy import choose_versions

PRESENT = (1, 2, 7)


@pytest.mark.parametrize(
    ("policy", "versions", "missing"),
    [
        pytest.param(VersionPolicy(), (7,), (), id="nothing set"),
        pytest.param(VersionPolicy(latest=LatestVersions(num_versions=1)), (7,), (), id="latest"),
        pytest.param(VersionPolicy(latest=LatestVersions(num_versions=2)), (2, 7), (), id="two"),
        pytest.param(VersionPolicy(latest=LatestVersions(num_versions=9)), PRESENT, (), id="nine"),
        pytest.param(VersionPolicy(latest=LatestVersions()), (7,), (), id="zero is one"),
        pytest.param(VersionPolicy(all=AllVersions()), PRESENT, (), id="all"),
        pytest.param(
            VersionPolicy(specific=SpecificVersions(versions=(9, 1, 1))), (1,), (9,), id="specific"
        ),
    ],
)
def test_policy_chooses_versions(policy, versions, missing):
    choice = choose_versions(policy, PRESENT)
    assert choice.versions == versions
    assert choice.missing == missing


@pytest.mark.parametrize("policy", [VersionPolicy(), VersionPolicy(all=AllVersions())])
def test_no_version_present_gives_none(policy):
    assert choose_versions(policy, ()).versions == ()
