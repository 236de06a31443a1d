"""Execute notebooks/*.ipynb in place, so that what is committed shows what it says; runs in the environment `notebook`.

python -m infra.docs.notebooks [NAME ...]
"""

import sys

import nbformat
from nbclient import NotebookClient

from contracts.settings import REPOSITORY

NOTEBOOKS = REPOSITORY / "notebooks"


def execute(name: str) -> None:
    """Run every cell in a fresh kernel; Spark's warnings, with the names of this machine in them, are not kept."""
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        cell.outputs = [each for each in cell.get("outputs", []) if each.get("name") != "stderr"]
        if cell.cell_type != "code":
            del cell["outputs"]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")):
        execute(chosen)
        print(f"executed notebooks/{chosen}.ipynb")
