"""One Kafka broker in a container: formats its storage at the first start, then becomes the broker.

Clients log in by SCRAM and may do what access rules allow, nothing without one. The users beside ``admin`` and every
rule are made by ``kafka_access``. Standard library only.
"""

import base64
import hashlib
import os
import secrets
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

SECRETS = Path("/run/secrets")
DATA = Path("/var/lib/kafka/data")
#: In memory, of this container alone: holds the passwords of the broker itself.
PROPERTIES = Path("/run/kafka/kafka.properties")
LOG4J = Path("/opt/millrace/infra/local/log4j2.properties")
ADMIN = "admin"
_ITERATIONS = 8192
_SMALL_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", f"-Dlog4j2.configurationFile={LOG4J}")


def properties(admin_password: str, controller_password: str, outside: str) -> str:
    """Three listeners: containers, programs of the host (``outside``: host:port), and the controller on loopback."""
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    values = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": "127.0.0.1:9093",
        "listeners": "INSIDE://0.0.0.0:9092,OUTSIDE://0.0.0.0:9094,CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": f"INSIDE://kafka:9092,OUTSIDE://{outside},CONTROLLER://127.0.0.1:9093",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INSIDE",
        "listener.security.protocol.map": "INSIDE:SASL_PLAINTEXT,OUTSIDE:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.inside.scram-sha-512.sasl.jaas.config": (
            f'{scram} username="{ADMIN}" password="{admin_password}";'
        ),
        "listener.name.outside.scram-sha-512.sasl.jaas.config": f"{scram};",
        # SCRAM users live in the log that the controller keeps: it cannot need one to begin.
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": (
            f'{plain} username="{ADMIN}" password="{controller_password}" user_{ADMIN}="{controller_password}";'
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN}",
        "allow.everyone.if.no.acl.found": "false",
        "log.dirs": str(DATA),
        # One broker: nothing can be replicated.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # A topic made by a typing error would have the wrong settings.
        "auto.create.topics.enable": "false",
        "log.cleaner.dedupe.buffer.size": "16777216",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def scram_argument(user: str, password: str, salt: bytes) -> str:
    """``--add-scram``: salted, because an argument list can be read by others where the password itself must not be."""
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    both = f'salt="{_base64(salt)}",saltedpassword="{_base64(salted)}"'
    return f"SCRAM-SHA-512=[name={user},iterations={_ITERATIONS},{both}]"


def main() -> int:
    """Does not return where the broker starts; otherwise the exit status of what failed."""
    admin_password = _secret("kafka_admin_password")
    PROPERTIES.touch(mode=0o600)
    PROPERTIES.write_text(
        properties(admin_password, secrets.token_urlsafe(24), os.environ.get("KAFKA_OUTSIDE", "127.0.0.1:19092")),
        encoding="utf-8",
    )
    if not (DATA / "meta.properties").exists():
        cluster = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        # What it prints on standard output has the stored keys of the user in it.
        formatted = subprocess.run(
            [
                *_java("-Xmx128m", "kafka.tools.StorageTool"), "format", "--standalone", f"--cluster-id={cluster}",
                "--config", str(PROPERTIES),
                "--add-scram", scram_argument(ADMIN, admin_password, secrets.token_bytes(16)),
            ],
            check=False, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        if formatted.returncode != 0:
            return formatted.returncode
    command = [*_java("-Xmx320m", "kafka.Kafka"), str(PROPERTIES)]
    return os.execvp(command[0], command)  # noqa: S606 - no shell wanted


def _java(heap: str, name: str) -> list[str]:
    return ["java", heap, *_SMALL_JVM, "-cp", "/opt/kafka/*", name]


def _secret(name: str) -> str:
    return (SECRETS / name).read_text(encoding="utf-8").strip()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    sys.exit(main())
