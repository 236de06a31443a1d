"""What the compose file, the Dockerfile and the locks of the images promise, read without any engine."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from contracts.profiles import HPC_PROFILES
from contracts.settings import REPOSITORY, Ports
from infra.images import build, sbom, secret_files
from infra.slurm.places import LabPlaces

COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOCKERFILE = (REPOSITORY / "infra" / "images" / "Dockerfile").read_text(encoding="utf-8")
ONE_OFF = {"kafka-access", "airflow-start", "tools"}
LASTING = sorted(set(SERVICES) - ONE_OFF)
GIB = 1024**3
UNITS = {"m": 1024**2, "g": GIB}


def memory(service):
    limit = SERVICES[service]["deploy"]["resources"]["limits"]["memory"]
    return int(limit[:-1]) * UNITS[limit[-1]]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_confined(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert memory(name) > 0


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_service_is_checked_restarted_and_given_time_to_stop(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"].endswith("s")


def test_all_of_it_fits_a_machine_of_16_gib():
    counted = [name for name in LASTING if "profiles" not in SERVICES[name]]
    total = sum(memory(name) * SERVICES[name]["deploy"].get("replicas", 1) for name in counted)
    assert total <= 16 * GIB


def test_both_nodes_of_the_partition_have_room_for_a_job():
    assert memory("slurm") >= (2 * HPC_PROFILES["hpc"].memory_mib + 1024) * 1024**2


def test_airflow_reaches_the_lab_where_the_container_puts_it():
    connection = json.loads(SERVICES["airflow-scheduler"]["environment"]["AIRFLOW_CONN_HPC"])
    lab = LabPlaces(Path("/var/lib/slurm"), Ports(), reached_by=SERVICES["slurm"]["hostname"])
    assert (connection["host"], connection["port"]) == (lab.reached_by, lab.ports.slurm_ssh)
    assert connection["extra"]["base_dir"] == str(lab.scratch / "millrace")


def test_ports_are_published_on_loopback_alone():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_publishes_no_port_has_no_way_out():
    """The scheduler alone is an exception: it tells people of trouble."""
    assert COMPOSE["networks"]["internal"] == {"internal": True}
    on_edge = {name for name, service in SERVICES.items() if "edge" in service["networks"]}
    assert on_edge == {name for name, service in SERVICES.items() if "ports" in service} | {"airflow-scheduler"}


def test_secrets_are_files_and_no_service_has_one_in_its_environment():
    made = set()
    for node in ast.walk(ast.parse(Path(secret_files.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[a-z_]+", node.value):
            made.add(node.value)
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used
    assert {name for name in used if not name.endswith("_database")} <= made
    for service in SERVICES.values():
        for name, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|KEY|CONN_CMD", name):
                assert "/run/secrets/" in value, name


def test_secret_files_are_made_once_and_kept(tmp_path):
    folder = tmp_path / "secrets"
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert set(secret_files.ensure(folder)) == used
    assert folder.stat().st_mode & 0o777 == 0o700
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert len(set(before.values())) == len(before)
    assert secret_files.ensure(folder) == []
    (folder / "mlflow_database_password").unlink()
    assert secret_files.ensure(folder) == ["mlflow_database_password", "mlflow_database"]
    assert {path.name: path.read_text() for path in folder.iterdir()}.items() & before.items() == {
        (name, text) for name, text in before.items() if not name.startswith("mlflow_database")
    }


def test_every_image_is_a_target_of_the_dockerfile_that_ends_as_somebody_else_than_root():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    targets = {stage.split("\n", 1)[0].split(" AS ")[-1]: stage for stage in stages if " AS " in stage}
    for image in build.IMAGES:
        users = re.findall(r"^USER (\S+)$", targets[image], flags=re.MULTILINE)
        assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", users[-1]), image
        for label in ("title", "description", "version", "revision"):
            assert f"org.opencontainers.image.{label}=" in targets[image], image


def test_every_service_has_the_image_of_its_target_and_of_this_version():
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for name, service in SERVICES.items():
        assert service["image"] == f"millrace/{service['build']['target']}:${{MILLRACE_VERSION:-{version}}}", name
        assert service["build"]["target"] in build.IMAGES
    assert {SERVICES[service]["build"]["target"]: service for service in build.IMAGES.values()} == build.IMAGES


def test_no_build_asks_a_registry_for_its_syntax():
    assert not re.search(r"^#\s*syntax\s*=", DOCKERFILE, flags=re.MULTILINE)


def test_build_secrets_are_absent_where_the_machine_needs_none():
    found = build.environment({"PATH": "/usr/bin"})
    assert not [name for name in found if name.startswith("MILLRACE_BUILD_")]
    found = build.environment({"SSL_CERT_FILE": "/etc/ca.pem", "MILLRACE_BUILD_JAVA_TRUSTSTORE": "/own"})
    assert found["MILLRACE_BUILD_CA_BUNDLE"] == "/etc/ca.pem"
    assert found["MILLRACE_BUILD_JAVA_TRUSTSTORE"] == "/own"


#: What FAB refuses of Airflow's own lock.
DIFFERENT = {("airflow_containers", "python-dateutil")}


@pytest.mark.parametrize(
    ("lock", "base"), [("airflow_containers", "airflow"), ("mlflow", "spark"), ("notebook", "spark")]
)
def test_images_hold_the_versions_that_the_local_stack_has(lock, base):
    ours, theirs = locked(lock), locked(base)
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 10
    different = {(lock, name) for name in shared if ours[name] != theirs[name]}
    assert different == {pair for pair in DIFFERENT if pair[0] == lock}
    if base == "airflow":
        assert theirs.keys() - ours.keys() <= {"pyyaml-ft"}


def locked(name):
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==(\S+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("image", build.IMAGES)
def test_the_list_of_what_is_in_an_image_is_valid_and_of_this_version(image):
    text = (sbom.FOLDER / f"{image}.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = json.loads(text)
    assert found["metadata"]["component"]["name"] == f"millrace/{image}"
    assert found["metadata"]["component"]["version"] == build.version()
    kinds = {component.get("purl", "jar").split("/", 1)[0] for component in found["components"]}
    python, java = {"pkg:pypi"}, {"pkg:maven"}
    wanted = {"pkg:deb"} | (java if image in ("spark", "airflow", "notebook", "kafka") else set())
    assert wanted | (set() if image in ("kafka", "postgres") else python) <= kinds


def test_a_list_says_the_same_each_time_and_names_every_kind_of_part():
    rows = [("pypi", "", "deltalake", "1.6.0"), ("deb", "debian", "tini", "0.19.0"), ("jar", "", "janino", "3.1.9")]
    rows.append(("maven", "io.delta", "delta-storage", "4.4.0"))
    document = sbom.document("page", "1.2.3", rows)
    assert document == sbom.document("page", "1.2.3", list(reversed(rows)))
    found = {component["bom-ref"] for component in json.loads(document)["components"]}
    named = {"pkg:pypi/deltalake@1.6.0", "pkg:deb/debian/tini@0.19.0", "pkg:maven/io.delta/delta-storage@4.4.0"}
    assert found == named | {"janino-3.1.9.jar"}
