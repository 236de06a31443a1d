"""Users of the broker and what each may do: made, corrected and, where they are none of ours, taken away.

Runs once at every start, as the broker's administrator; a changed password file becomes the new password.
"""

import logging
import sys
from pathlib import Path

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError

from contracts.errors import DependencyUnavailableError, PlatformError
from contracts.kafka import Login, client_options
from contracts.settings import Settings, load_settings
from streaming import topics

log = logging.getLogger(__name__)

SECRETS = Path("/run/secrets")
#: Principal -> what it may do. The topic is read by the stream alone; its consumer groups are named by Spark.
STREAM, REPLAYER = "stream", "replayer"
_GROUPS = "millrace-access-log"


def rules(topic: str) -> list[ACL]:
    """Every access rule there is: the topic for both, writing for the replayer, reading for the stream."""
    on_topic = ResourcePattern(ResourceType.TOPIC, topic, ACLResourcePatternType.LITERAL)
    groups = ResourcePattern(ResourceType.GROUP, _GROUPS, ACLResourcePatternType.PREFIXED)
    allowed = [
        (STREAM, ACLOperation.READ, on_topic),
        (STREAM, ACLOperation.DESCRIBE, on_topic),
        (STREAM, ACLOperation.READ, groups),
        (REPLAYER, ACLOperation.WRITE, on_topic),
        (REPLAYER, ACLOperation.DESCRIBE, on_topic),
    ]
    return [
        ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, pattern) for user, operation, pattern in allowed
    ]


def apply(admin: KafkaAdminClient, topic: str) -> tuple[int, int]:
    """Passwords as their files have them, rules exactly as above; returns how many rules were made and taken away."""
    users = [
        UserScramCredentialUpsertion(
            user, ScramMechanism.SCRAM_SHA_512, Login(user, SECRETS / f"kafka_{user}_password").password().encode()
        )
        for user in (STREAM, REPLAYER)
    ]
    refused = {user: error for user, error in admin.alter_user_scram_credentials(users).items() if error}
    if refused:
        raise DependencyUnavailableError(
            "Setting the passwords of Kafka users", found=str(refused), required="the broker's consent",
            next_step="Read the broker's log: docker compose logs kafka",
        )  # fmt: skip
    everything = ACLFilter(
        None, None, ACLOperation.ANY, ACLPermissionType.ANY,
        ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY),
    )  # fmt: skip
    wanted = rules(topic)
    found, _ = admin.describe_acls(everything)
    missing = [rule for rule in wanted if rule not in found]
    foreign = [rule for rule in found if rule not in wanted]
    if missing:
        admin.create_acls(missing)
    if foreign:
        admin.delete_acls(foreign)
    return len(missing), len(foreign)


def main(settings: Settings) -> None:
    login = settings.kafka_login
    try:
        admin = KafkaAdminClient(bootstrap_servers=settings.kafka, **client_options(login))
        try:
            made, removed = apply(admin, settings.stream.topic)
        finally:
            admin.close()
    except KafkaError as error:
        raise topics.unavailable(settings.kafka, error) from error
    log.info("users=2 rules_made=%d rules_removed=%d", made, removed)
    done = topics.ensure(settings.kafka, settings.stream.topic, settings.stream.topic_partitions, login)
    for each in done or [f"{settings.stream.topic} is as it should be"]:
        log.info("%s", each)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        main(load_settings())
    except PlatformError as problem:
        log.error("%s", problem)  # noqa: TRY400 - a message, not a trace
        sys.exit(int(problem.exit_code))
