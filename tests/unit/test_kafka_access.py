"""Users and access rules of the broker in containers: exactly ours, whatever was there before."""

from __future__ import annotations

import pytest
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from contracts.errors import DependencyUnavailableError
from infra.images import kafka_access


class Admin:
    """What is used of kafka-python's administrator."""

    def __init__(self, rules, refused=None):
        self.rules, self.refused, self.users = list(rules), refused, []

    def alter_user_scram_credentials(self, users):
        self.users = users
        return {user.user: self.refused for user in users}

    def describe_acls(self, _everything):
        return list(self.rules), None

    def create_acls(self, rules):
        self.rules += rules

    def delete_acls(self, rules):
        self.rules = [rule for rule in self.rules if rule not in rules]


@pytest.fixture(autouse=True)
def _passwords(tmp_path, monkeypatch):
    for user in ("stream", "replayer"):
        (tmp_path / f"kafka_{user}_password").write_text(f"of {user}")
    monkeypatch.setattr(kafka_access, "SECRETS", tmp_path)


FOREIGN = ACL(
    "User:guest", "*", ACLOperation.READ, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, "web.access-log")
)


def test_missing_rules_are_made_and_foreign_ones_taken_away():
    wanted = kafka_access.rules("web.access-log")
    admin = Admin([wanted[0], FOREIGN])
    assert kafka_access.apply(admin, "web.access-log") == (len(wanted) - 1, 1)
    assert set(admin.rules) == set(wanted)
    assert kafka_access.apply(admin, "web.access-log") == (0, 0)


def test_passwords_are_set_again_each_time():
    admin = Admin([])
    kafka_access.apply(admin, "web.access-log")
    assert [user.user for user in admin.users] == ["stream", "replayer"]
    assert len({user.salted_password for user in admin.users}) == 2


def test_only_the_replayer_writes_and_only_the_stream_reads():
    allowed = {
        (rule.principal, rule.operation.name, rule.resource_pattern.resource_type.name)
        for rule in kafka_access.rules("t")
    }
    assert {user for user, operation, kind in allowed if (operation, kind) == ("WRITE", "TOPIC")} == {"User:replayer"}
    assert {user for user, operation, kind in allowed if operation == "READ"} == {"User:stream"}
    assert all(rule.permission_type == ACLPermissionType.ALLOW for rule in kafka_access.rules("t"))


def test_a_password_that_the_broker_refuses_is_told():
    with pytest.raises(DependencyUnavailableError, match=r"stream.*unacceptable"):
        kafka_access.apply(Admin([], refused="unacceptable"), "web.access-log")
