"""Reading ``pipelines/<name>.yaml``: every wrong value is named with file, field, value and what is allowed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from contracts.errors import ConfigurationError
from contracts.pipelines.algorithms import Range
from contracts.pipelines.spec import PipelineSpec
from contracts.pipelines.study import StudySpec

_Spec = TypeVar("_Spec", PipelineSpec, StudySpec)

PIPELINES = Path(__file__).resolve().parent.parent.parent / "pipelines"


def names(folder: Path = PIPELINES) -> list[str]:
    """Names of all pipelines, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(name: str, folder: Path = PIPELINES) -> PipelineSpec:
    """Read ``<folder>/<name>.yaml``; a ConfigurationError names file, field, value and what is allowed."""
    path = folder / f"{name}.yaml"
    if name not in names(folder):
        raise ConfigurationError(
            "Looking up a pipeline", found=repr(name),
            required="one of " + (", ".join(names(folder)) or "no pipeline yet"),
            next_step=f"Correct the name, or add {path.parent.name}/{path.name}.",
        )  # fmt: skip
    return read(path, PipelineSpec)


def read(path: Path, kind: type[_Spec]) -> _Spec:
    """The file as a spec of this kind, whose ``name`` is that of the file."""
    said = _yaml(path)
    try:
        spec = kind.model_validate(said)
    except ValidationError as error:
        raise _complaint(path, error, said, kind) from error
    if spec.name != path.stem:
        raise _wrong(path, "name", spec.name, f"{path.stem}, the name of the file")
    return spec


def load_study(name: str, folder: Path = PIPELINES / "studies") -> StudySpec:
    """Read ``<folder>/<name>.yaml`` as a study, with errors like those of ``load``."""
    known = names(folder)
    if name not in known:
        raise ConfigurationError(
            "Looking up a study", found=repr(name), required="one of " + ", ".join(known),
            next_step=f"Correct the name, or add pipelines/{folder.name}/{name}.yaml.",
        )  # fmt: skip
    return read(folder / f"{name}.yaml", StudySpec)


def load_all(folder: Path = PIPELINES) -> dict[str, PipelineSpec]:
    """Every pipeline by name; a ConfigurationError says what is wrong with each that cannot be read."""
    found, wrong = load_readable(folder)
    if len(wrong) > 1:
        raise ConfigurationError(
            f"Reading {folder.name}/", found=" ".join(map(str, wrong)), required="files that say what is allowed",
            next_step="Correct all of them.",
        )  # fmt: skip
    if wrong:
        raise wrong[0]
    return found


def load_readable(folder: Path = PIPELINES) -> tuple[dict[str, PipelineSpec], list[ConfigurationError]]:
    """The pipelines that can be read, by name, and what is wrong with each of the others."""
    found: dict[str, PipelineSpec] = {}
    wrong: list[ConfigurationError] = []
    for name in names(folder):
        try:
            found[name] = load(name, folder)
        except ConfigurationError as error:
            wrong.append(error)
    return found, wrong


class _OnceEach(yaml.SafeLoader):
    """Refuses a field that stands there twice, of which YAML would quietly take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        said = yaml.load(path.read_text(encoding="utf-8"), _OnceEach)  # noqa: S506 - a safe loader that refuses more
    # ValueError: a date that there is none of, such as 2024-02-30; RecursionError: brackets within brackets.
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise _wrong(path, "(file)", str(error), "YAML in UTF-8") from error
    if not isinstance(said, dict):
        raise _wrong(path, "(file)", type(said).__name__, "a mapping of field names to values")
    return said


def _complaint(path: Path, error: ValidationError, said: dict[str, Any], kind: type[BaseModel]) -> ConfigurationError:
    first = _telling(error.errors())
    field, found = _place(first), first["input"]
    if first["type"] == "extra_forbidden":
        required = f"a known field: {', '.join(_model_at(first['loc'], kind).model_fields)}"
    elif first["type"] == "missing":
        found, required = "nothing", "a value"
    elif first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        tag = first["ctx"]["discriminator"].strip("'")
        field, found = f"{field}.{tag}", found.get(tag, "nothing") if isinstance(found, dict) else found
        required = f"one of {first['ctx']['expected_tags']}" if "expected_tags" in first["ctx"] else "a value"
    else:
        required = first["msg"].removeprefix("Value error, ")
    if not field:
        # A check of several fields says which one is wrong, in front of its sentence.
        field, _, required = required.partition("| ")
        found = _value(said, field)
    others = sum(not field.startswith(place) for place in {_place(each) for each in error.errors()})
    return _wrong(path, field, found, required + (f" ({others} more like this)" if others else ""))


def _telling(errors: list[ErrorDetails]) -> ErrorDetails:
    """Of a value that may be of several types every type complains: the one that the value was meant for."""
    first = errors[0]
    meant = "tuple[" if isinstance(first["input"], list) else "Range[" if isinstance(first["input"], dict) else ""
    if meant and first["type"] not in ("missing", "extra_forbidden"):
        return next((each for each in errors if any(meant in str(part) for part in each["loc"])), first)
    return first


def _value(said: dict[str, Any], field: str) -> Any:  # noqa: ANN401 - whatever the file says
    found: Any = said
    for part in field.split("."):
        found = found.get(part, "nothing") if isinstance(found, dict) else found
    return found


def _place(error: ErrorDetails) -> str:
    """Fields and numbers on the way, joined by dots, without what pydantic says about the choice between types."""
    *way, last = error["loc"] or ("",)
    said = [str(part) for part in way if isinstance(part, int) or part in _FIELDS]
    if isinstance(last, int) or last in _FIELDS or error["type"] == "extra_forbidden":
        said.append(str(last))
    return ".".join(said)


def _model_at(loc: tuple[int | str, ...], whole: type[BaseModel]) -> type[BaseModel]:
    """The model that the last part of the place lies in; ``whole`` is that of the file."""
    models = [Range if "Range[" in str(part) else _MODELS[part] for part in loc[:-1] if _is_model(part)]
    return models[-1] if models else whole


def _is_model(part: int | str) -> bool:
    return part in _MODELS or "Range[" in str(part)


def _models(model: type[BaseModel]) -> Iterator[tuple[int | str, type[BaseModel]]]:
    """Every model inside ``model`` by what pydantic calls its place: its tag, the field's name or its own."""
    for name, field in model.model_fields.items():
        for choice in _choices(field.annotation):
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                tag = choice.model_fields.get("kind") or choice.model_fields.get("name")
                for place in get_args(tag.annotation) if tag else (name, choice.__name__):
                    yield place, choice
                yield from _models(choice)


def _choices(annotation: Any) -> list[Any]:  # noqa: ANN401 - any annotation
    """The classes that an annotation allows, entries of tuples included."""
    parts = [part for part in get_args(annotation) if part is not Ellipsis]
    if get_origin(annotation) is Annotated:
        parts = parts[:1]
    return [choice for part in parts for choice in _choices(part)] if parts else [annotation]


_MODELS: dict[int | str, type[BaseModel]] = dict(_models(StudySpec)) | dict(_models(PipelineSpec))
_FIELDS = {
    *PipelineSpec.model_fields, *StudySpec.model_fields,
    *(name for model in _MODELS.values() for name in model.model_fields),
}  # fmt: skip


def _wrong(path: Path, field: str, found: object, required: str) -> ConfigurationError:
    shown = found if found == "nothing" else repr(found)
    return ConfigurationError(
        f"Reading {path.parent.name}/{path.name}, field {field}", found=str(shown), required=required,
        next_step=f"Correct {field} in {path.parent.name}/{path.name} and start again.",
    )  # fmt: skip
