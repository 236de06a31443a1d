"""What the lab needs before it can start: packages, ports, paths, files. No test here starts a daemon."""

import os
import re
import socket
import stat
import subprocess

import pytest

from contracts.errors import ConfigurationError, DependencyUnavailableError, ExitCode
from contracts.settings import Ports, Settings
from infra.local import cli, doctor, hpc, machine, setup, supervision
from infra.local.places import Places
from infra.slurm import packages, render
from infra.slurm.lab import Lab
from infra.slurm.places import LabPlaces

BARE = ["munge", "slurmctld", "slurmd", "slurm-client", "openssh-server", "openssh-client"]


@pytest.fixture
def bare_machine(monkeypatch):
    """None of the lab's programs is installed, no stack runs, and whoever asks is an ordinary user."""
    monkeypatch.setattr(supervision, "is_up", lambda _: False)
    monkeypatch.setattr(packages, "_found", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return LabPlaces(tmp_path / "lab", Ports(base=31000), "dbd")


def test_a_start_without_the_packages_says_what_to_type_and_makes_nothing(bare_machine, tmp_path):
    with pytest.raises(DependencyUnavailableError) as error:
        Lab(tmp_path / "lab", Ports(base=31000)).start()
    line = f"sudo apt-get install --no-install-recommends {' '.join(BARE)} slurm-wlm-basic-plugins"
    assert f"Run: {line} (" in str(error.value)
    assert error.value.exit_code == ExitCode.UNAVAILABLE
    assert not (tmp_path / "lab").exists()


def test_only_a_lab_with_sacct_needs_the_database(bare_machine):
    more = [*BARE, "slurmdbd", "mariadb-server-core", "slurm-wlm-basic-plugins"]
    assert packages.missing("filetxt") == [*BARE, "slurm-wlm-basic-plugins"]
    assert packages.missing("dbd") == more


def test_up_with_the_lab_fails_before_anything_starts_where_packages_are_missing(
    bare_machine, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path / "state"))
    assert cli.main(["up", "--hpc", "page"]) == ExitCode.UNAVAILABLE
    assert "apt-get install --no-install-recommends munge slurmctld" in capsys.readouterr().err
    assert not (tmp_path / "state" / "conf" / "supervisord.conf").exists()


def test_sacct_without_the_lab_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path / "state"))
    assert cli.main(["up", "--sacct"]) == ExitCode.CONTRACT_BROKEN
    assert "up --hpc --sacct" in capsys.readouterr().err


def test_doctor_names_the_missing_packages_and_calls_it_no_problem(bare_machine, tmp_path):
    findings = {finding.about: finding for finding in doctor.examine(Places(Settings(state=tmp_path / "state")))}
    assert "sudo apt-get install --no-install-recommends munge" in findings["Slurm lab"].detail
    assert findings["Slurm lab"].problem == ""


def test_setup_installs_them_without_starting_their_services(monkeypatch, tmp_path):
    policy = tmp_path / "policy-rc.d"
    seen = []

    def install(wanted: list[str]) -> None:
        answer = subprocess.run([policy], check=False).returncode
        seen.append((wanted, answer))

    monkeypatch.setattr(packages, "_found", lambda _: None)
    monkeypatch.setattr(packages, "_POLICY", policy)
    monkeypatch.setattr(machine, "may_install", lambda: True)
    monkeypatch.setattr(machine, "apt_install", install)
    setup.Setup(tmp_path).slurm_packages()
    assert seen == [(packages.missing("dbd"), 101)]
    assert not policy.exists()


def test_setup_leaves_a_policy_that_was_there(monkeypatch, tmp_path):
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n", encoding="utf-8")
    monkeypatch.setattr(packages, "_POLICY", policy)
    monkeypatch.setattr(machine, "apt_install", lambda _: None)
    packages.install(["munge"])
    assert policy.read_text(encoding="utf-8") == "#!/bin/sh\nexit 104\n"


def test_setup_goes_on_where_apt_cannot_install(monkeypatch, tmp_path, capsys):
    policy = tmp_path / "policy-rc.d"

    def fail(wanted: list[str]) -> None:
        raise DependencyUnavailableError("Fetching", found="no network", required="one", next_step="Wait.")

    monkeypatch.setattr(packages, "_found", lambda _: None)
    monkeypatch.setattr(packages, "_POLICY", policy)
    monkeypatch.setattr(machine, "may_install", lambda: True)
    monkeypatch.setattr(machine, "apt_install", fail)
    running = setup.Setup(tmp_path)
    running.slurm_packages()
    assert "no Slurm lab: its tests are skipped. Fetching: found no network" in capsys.readouterr().out
    assert running.changed == 0
    assert not policy.exists()


def test_setup_tells_an_ordinary_user_what_to_type(bare_machine, tmp_path, capsys):
    setup.Setup(tmp_path).slurm_packages()
    assert "For them: sudo apt-get install --no-install-recommends munge" in capsys.readouterr().out


def test_every_configuration_file_is_filled_in_and_for_its_owner_alone(places):
    places.make()
    render.configuration(places)
    files = list(places.etc.iterdir())
    assert {path.name for path in files} == {"slurm.conf", "slurmdbd.conf", "mariadb.cnf", "sshd_config", "ssh_config"}
    for path in files:
        assert re.findall(r"@\w+@", path.read_text(encoding="utf-8")) == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(("password", "asked"), [("!", "yes"), ("!*", "yes"), ("*", "no"), ("$y$hash", "no")])
def test_sshd_asks_pam_only_where_the_account_is_locked(places, tmp_path, monkeypatch, password, asked):
    (tmp_path / "shadow").write_text(
        f"other:!:1::::::\n{places.user}:{password}:19000:0:99999:7:::\n", encoding="utf-8"
    )
    monkeypatch.setattr(render, "_SHADOW", tmp_path / "shadow")
    assert f"UsePAM {asked}\n" in render.text(places, "sshd_config")
    monkeypatch.setattr(render, "_SHADOW", tmp_path / "none that can be read")
    assert "UsePAM no\n" in render.text(places, "sshd_config")


def test_slurm_is_told_the_address_that_its_daemons_will_listen_on(places, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node.example.org")
    monkeypatch.setattr(socket, "gethostbyname", {"node": "127.0.1.1"}.__getitem__)
    text = render.text(places, "slurm.conf")
    assert "SlurmctldHost=node(127.0.1.1)\n" in text
    assert len(re.findall(r"NodeHostname=node NodeAddr=127\.0\.1\.1 ", text)) == 2


def test_a_machine_whose_name_stands_for_no_address_is_told_so(places, monkeypatch):
    def unknown(_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "gethostname", lambda: "node")
    monkeypatch.setattr(socket, "gethostbyname", unknown)
    with pytest.raises(ConfigurationError, match=r"Add `127\.0\.1\.1 node` to /etc/hosts"):
        render.text(places, "slurm.conf")


def test_every_port_of_the_configuration_is_one_of_the_settings(places):
    text = "\n".join(render.text(places, name) for name in ("slurm.conf", "slurmdbd.conf", "sshd_config"))
    ports = places.ports
    wanted = {ports.slurm_controller, *ports.slurm_nodes, ports.slurm_ssh, ports.slurm_accounting}
    assert {int(port) for port in re.findall(r"\b31\d\d\d\b", text)} == wanted
    assert len(wanted) == 5


def test_the_lab_takes_no_port_of_another_service():
    ports = Ports(base=31000)
    lab = {ports.slurm_controller, *ports.slurm_nodes, ports.slurm_ssh, ports.slurm_accounting}
    every = [getattr(ports, name) for name, kind in vars(Ports).items() if isinstance(kind, property)]
    flat = [port for value in every for port in (value if isinstance(value, tuple) else (value,))]
    assert [port for port in flat if port in lab] == sorted(lab)


def test_a_short_path_that_somebody_else_took_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    far = LabPlaces(tmp_path / ("x" * 90), Ports(base=31000))
    far.home.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="not this lab's link"):
        far.make()


def test_an_unknown_daemon_is_refused_with_the_names_there_are(tmp_path):
    with pytest.raises(ConfigurationError, match="one of munged, slurmctld, hpc1, hpc2, sshd"):
        Lab(tmp_path / "lab", Ports(base=31000)).kill("hpc3")


def test_airflow_gets_no_connection_while_no_lab_is_wanted(tmp_path):
    assert hpc.airflow_variables(Settings(state=tmp_path)) == {}
