"""What `status` and `up` print for people."""

from infra.local import credentials
from infra.local.places import Places
from infra.local.stack import ServiceStatus, StackStatus

_COLUMNS = ("SERVICE", "STATE", "PID", "PORT", "MEMORY", "UPTIME", "RESTARTS", "HEALTH")


def status_table(places: Places, found: StackStatus) -> str:
    """One row per service, aligned, then the total."""
    rows = [_COLUMNS, *(_row(service) for service in found.services)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{service.name} ended {service.last_end}" for service in found.services if service.restarts]
    total = f", {found.memory_mib:,} MiB in all" if found.memory_mib else ""
    return "\n".join([*lines, f"stack: {found.state}{total}, state in {places.state}"])


def addresses(places: Places, found: StackStatus) -> str:
    """Pages that a person opens, with the login of Airflow."""
    secrets = places.state / "secrets" / "secrets.json"
    about = {
        "page": "live page",
        "airflow-api-server": f"Airflow, user {credentials.AIRFLOW_USER}, password in {secrets}",
        "spark-master": "Spark",
        "mlflow": "MLflow",
    }
    urls = {service.name: service.url for service in found.services if service.pid}
    return "\n".join(f"  {urls[name]:<26} {text}" for name, text in about.items() if name in urls)


def _row(service: ServiceStatus) -> tuple[str, ...]:
    return (
        service.name, service.state, str(service.pid or "-"), ",".join(map(str, service.ports.values())) or "-",
        f"{service.memory_mib} MiB" if service.pid else "-", _duration(service.uptime_s), str(service.restarts),
        service.health if service.wanted or service.health != "down" else "not asked for",
    )  # fmt: skip


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds % 60:02} s"
