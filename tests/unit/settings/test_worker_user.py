"""`--worker-user` as it is read."""

import grp
import pwd

import pytest

from mpserve.errors import ConfigError
from mpserve.settings.reading import read_serve
from mpserve.settings.worker_user import read_worker_user

NOBODY = pwd.getpwnam("nobody")
OTHER = next(row for row in grp.getgrall() if row.gr_gid not in {0, NOBODY.pw_gid})


def test_there_is_none_by_default():
    settings = read_serve(["--model-repository=/m"], environment={}, version="1").settings
    assert settings.worker_user is None


@pytest.mark.parametrize("text", ["nobody", str(NOBODY.pw_uid)])
def test_a_name_or_a_number_is_a_user_with_its_groups(text):
    user = read_worker_user(text)
    assert user is not None
    assert (user.name, user.uid, user.gid) == ("nobody", NOBODY.pw_uid, NOBODY.pw_gid)
    assert user.groups[0] == NOBODY.pw_gid
    assert 0 not in user.groups


@pytest.mark.parametrize("group", [OTHER.gr_name, str(OTHER.gr_gid)])
def test_a_group_that_is_named_is_the_only_one(group):
    user = read_worker_user(f"nobody:{group}")
    assert user is not None
    assert (user.gid, user.groups) == (OTHER.gr_gid, (OTHER.gr_gid,))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no-such-user", "there is no user 'no-such-user'"),
        ("4294967000", "there is no user '4294967000'"),
        ("nobody:no-such-group", "there is no group 'no-such-group'"),
        ("4294967295", "there is no user '4294967295'"),
        ("99999999999999999999", "there is no user '99999999999999999999'"),
        ("nobody:4294967295", "4294967295 is no group"),
        ("nobody:99999999999999999999", "99999999999999999999 is no group"),
        ("root", "that is root"),
        ("0", "that is root"),
        ("nobody:0", "that is root"),
    ],
)
def test_what_can_not_be_is_told(text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        read_worker_user(text)
