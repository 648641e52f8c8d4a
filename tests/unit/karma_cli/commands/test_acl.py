"""`karma acl`: every service's user, with the hash of its password and never the password."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from karma.config.redis_address import USERS, password_variable
from tests.support.command import call


def test_the_lines_hold_a_user_per_service_and_hashes_of_the_given_passwords(tmp_path: Path) -> None:
    passwords = {password_variable(user): f"hush {user}" for user in USERS}
    done = call("acl", environment={"KARMA_HOME": str(tmp_path), **passwords})
    names = [line.split()[1] for line in done.stdout.splitlines()]
    assert (done.returncode, names) == (0, ["default", "health", *USERS])
    assert "hush" not in done.stdout + done.stderr
    for user in USERS:
        assert f"user {user} on #{sha256(f'hush {user}'.encode()).hexdigest()} resetchannels -@all " in done.stdout


def test_a_missing_password_is_named_and_made_only_where_that_is_asked_for(tmp_path: Path) -> None:
    given = {"KARMA_HOME": str(tmp_path), **{password_variable(user): "hush" for user in USERS if user != "page"}}
    done = call("acl", environment=given)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no KARMA_REDIS_PASSWORD_PAGE; set them, or make new passwords with --generate" in done.stderr
    made = call("acl", "--generate", environment=given)
    (line,) = [line for line in made.stderr.splitlines() if line.startswith("KARMA_")]
    name, _, password = line.partition("=")
    assert (name, len(password)) == ("KARMA_REDIS_PASSWORD_PAGE", 43)
    assert sha256(password.encode()).hexdigest() in made.stdout and password not in made.stdout


def test_an_administrator_exists_only_with_a_password(tmp_path: Path) -> None:
    given = {"KARMA_HOME": str(tmp_path), "KARMA_REDIS_PASSWORD_ADMIN": "hush"}
    assert "user admin on #" in call("acl", "--generate", environment=given).stdout
    assert "admin" not in call("acl", "--generate", environment={"KARMA_HOME": str(tmp_path)}).stdout
