"""Who a Kafka client of ours is: the one place that knows how kafka-python and Spark's source are told so."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError

PROTOCOL = "SASL_PLAINTEXT"
MECHANISM = "SCRAM-SHA-512"


@dataclass(frozen=True)
class Login:
    """A principal of the broker. The password stays in its file: it is read whenever a client is made."""

    user: str
    password_file: Path

    def password(self) -> str:
        """One line without its end; a file that is missing, empty or of several lines is a ConfigurationError."""
        try:
            password = self.password_file.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(getattr(error, "strerror", None) or "no text") from error
        if not password or not password.isprintable():
            raise self._unusable("nothing" if not password else "more than one line")
        return password

    def _unusable(self, found: str) -> ConfigurationError:
        return ConfigurationError(
            f"Reading the Kafka password of {self.user} from {self.password_file}",
            found=found,
            required="a file with one line, the password",
            next_step="Correct MILLRACE_KAFKA_PASSWORD_FILE, or write the password into that file.",
        )


def client_options(login: Login | None) -> dict[str, Any]:
    """Arguments for every client of kafka-python; none where the broker asks for no login."""
    if login is None:
        return {}
    return {
        "security_protocol": PROTOCOL,
        "sasl_mechanism": MECHANISM,
        "sasl_plain_username": login.user,
        "sasl_plain_password": login.password(),
    }


def source_options(login: Login | None) -> dict[str, str]:
    """Options for Spark's Kafka source; Spark hides the value of ``sasl.jaas.config`` in its logs."""
    if login is None:
        return {}
    return {
        "kafka.security.protocol": PROTOCOL,
        "kafka.sasl.mechanism": MECHANISM,
        "kafka.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required "
            f"username={_quoted(login.user)} password={_quoted(login.password())};"
        ),
    }


def _quoted(text: str) -> str:
    # JAAS configurations are read by java.io.StreamTokenizer: a backslash escapes the next character.
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
