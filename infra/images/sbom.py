"""Write what is in each image to ``docs/sbom/<image>.cdx.json`` (CycloneDX): ``python -m infra.images.sbom``.

The images are asked, not the locks: packages of Python and Debian and Java archives as they are there. No time and no
random number is written, so that a file changes when its image does.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from infra.images import build

FOLDER = build.REPOSITORY / "docs" / "sbom"
_INVENTORY = Path(__file__).with_name("inventory.py")

#: kind, group, name, version
Row = tuple[str, str, str, str]


def document(image: str, version: str, rows: list[Row]) -> str:
    """CycloneDX 1.6 of one image."""
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"millrace/{image}/{version}"), components=[_component(row) for row in rows]
    )
    bom.metadata.component = Component(
        type=ComponentType.CONTAINER, name=f"millrace/{image}", version=version, bom_ref=f"millrace/{image}"
    )
    # It warns of a list without; all it would say is that the image holds what the image holds.
    bom.register_dependency(bom.metadata.component, bom.components)
    known = json.loads(JsonV1Dot6(bom).output_as_string())
    del known["metadata"]["timestamp"], known["dependencies"]
    return json.dumps(known, indent=1, sort_keys=True) + "\n"


def inventory(image: str, known: dict[str, str]) -> list[Row]:
    """What the image itself says it holds."""
    tag = f"millrace/{image}:{known['MILLRACE_VERSION']}"
    command = ["docker", "run", "--rm", "--interactive", "--network", "none", "--entrypoint", "python3", tag, "-"]
    said = subprocess.run(command, env=known, input=_INVENTORY.read_bytes(), stdout=subprocess.PIPE, check=True).stdout
    return [(kind, group, name, version) for kind, group, name, version in json.loads(said)]


def _component(row: Row) -> Component:
    kind, group, name, version = row
    # Archives that do not say where they come from have no address of a package.
    url = None if kind == "jar" else PackageURL(type=kind, namespace=group or None, name=name, version=version)
    reference = str(url) if url else f"{name}-{version}.jar"
    return Component(
        type=ComponentType.LIBRARY, group=group or None, name=name, version=version or None, purl=url, bom_ref=reference
    )


def main() -> int:
    known = build.environment(dict(os.environ))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for image in build.IMAGES:
        rows = inventory(image, known)
        path = FOLDER / f"{image}.cdx.json"
        path.write_text(document(image, known["MILLRACE_VERSION"], rows), encoding="utf-8")
        print(f"  {path.relative_to(build.REPOSITORY)}: {len(rows)} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
