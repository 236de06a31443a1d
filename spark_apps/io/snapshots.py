"""Training snapshots: what a run trains on, as immutable Parquet files addressed by a hash of their content."""

import json
import os
import shutil
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, DataType, MapType, StructType, TimestampType
from sqlalchemy import Engine

from contracts.errors import QualityGateError, SchemaMismatchError
from contracts.files import read_json, write_atomically
from contracts.settings import Settings
from spark_apps.io import verdicts
from spark_apps.io.pointers import Snapshot
from spark_apps.io.verdicts import Verdict

__all__ = ["MANIFEST", "Snapshot", "adopt", "content_hash", "files", "read", "remove_with", "require_verdict", "write"]

MANIFEST = "manifest.json"
#: Digests of rows are sorted and hashed in this many groups: one row's share of memory is 64 bytes, on one executor.
_GROUP_DIGITS = 2


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    bytes: int


class _Manifest(BaseModel):
    """What the folder holds. Its provenance is that of the first run which made this content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    hash: str
    rows: int
    key: tuple[str, ...]
    columns: dict[str, Any]
    files: tuple[_File, ...]
    provenance: dict[str, Any]
    created_at: datetime


def write(
    frame: DataFrame, name: str, settings: Settings, *, key: tuple[str, ...], provenance: dict[str, Any], files: int = 2
) -> Snapshot:
    """Store ``frame`` as ``snapshots/<name>/<hash>`` in at most ``files`` Parquet files sorted by ``key``.

    The hash covers the rows as a multiset and the schema; how the rows were spread or ordered does not matter. The
    same content is stored once. A reader sees a whole snapshot or none: everything is written aside, then renamed.
    """
    home = settings.snapshots / name
    # Without a dot in front: Spark takes such a folder for hidden.
    aside = home / f"writing-{uuid4().hex}"
    try:
        sorted_rows = frame.repartition(files, *key).sortWithinPartitions(*key)
        sorted_rows.write.option("compression", "zstd").parquet(aside.as_uri())
        # Hash what is on disk, not the frame: that would be computed a second time, perhaps from newer rows.
        stored = frame.sparkSession.read.schema(frame.schema).parquet(aside.as_uri())
        digest, rows = content_hash(stored)
        _remove_all_but_parquet(aside)
        parts = tuple(_described(path) for path in sorted(aside.glob("*.parquet")))
        manifest = _Manifest(
            name=name, hash=digest, rows=rows, key=key, columns=json.loads(frame.schema.json()), files=parts,
            provenance=provenance, created_at=datetime.now(UTC),
        )  # fmt: skip
        write_atomically(aside / MANIFEST, manifest.model_dump_json(indent=2))
        final = home / digest
        _publish(aside, final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    snapshot = Snapshot(name=name, hash=digest, rows=rows, path=str(final), key=key, provenance=provenance)
    _verified(snapshot, settings)
    return snapshot


def read(spark: SparkSession, snapshot: Snapshot, settings: Settings) -> DataFrame:
    """The rows of the snapshot, after its files were compared with the checksums of its manifest."""
    manifest = _verified(snapshot, settings)
    folder = settings.snapshots / snapshot.name / snapshot.hash
    schema = StructType.fromJson(manifest.columns)
    return spark.read.schema(schema).parquet(*[(folder / file.name).as_uri() for file in manifest.files])


def adopt(snapshot: Snapshot, folder: Path, settings: Settings) -> None:
    """Let ``folder``, a copy of the snapshot's folder, stand for it in this state folder."""
    place = settings.snapshots / snapshot.name / snapshot.hash
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(folder.resolve(), target_is_directory=True)
    _verified(snapshot, settings)


def files(snapshot: Snapshot, settings: Settings) -> list[str]:
    """Paths of the snapshot's Parquet files, after they were compared with the checksums of its manifest."""
    folder = settings.snapshots / snapshot.name / snapshot.hash
    return [str(folder / file.name) for file in _verified(snapshot, settings).files]


def require_verdict(engine: Engine, snapshot: Snapshot) -> Verdict:
    """The newest verdict on exactly this content, if it passed; anything else is a QualityGateError."""
    verdict = verdicts.passing(engine, snapshot.name, snapshot.hash)
    if verdict is None:
        raise QualityGateError(
            f"Training on snapshot {snapshot.name}/{snapshot.hash[:12]}", found="no passing verdict about it",
            required="a validation of exactly this content that passed",
            next_step="Run validate --snapshot on it; when that fails, correct the data, not the rule.",
        )  # fmt: skip
    return verdict


def remove_with(spark: SparkSession, settings: Settings, column: str, values: list[str]) -> int:
    """Remove every snapshot with a row whose ``column`` is one of ``values``, and say how many; models of them stay."""
    removed = 0
    for path in sorted(settings.snapshots.glob(f"*/*/{MANIFEST}")):
        manifest = _Manifest.model_validate(read_json(path, f"the manifest of {path.parent}"))
        if column not in StructType.fromJson(manifest.columns).names:
            continue
        found = spark.read.parquet(*[(path.parent / file.name).as_uri() for file in manifest.files])
        if found.where(F.col(column).isin(values)).isEmpty():
            continue
        shutil.rmtree(path.parent)
        removed += 1
    return removed


def content_hash(frame: DataFrame) -> tuple[str, int]:
    """Hex SHA-256 of schema and rows, independent of the order of rows and columns; and the number of rows."""
    fields = sorted(frame.schema.fields, key=lambda field: field.name)
    row = F.concat(*[_unambiguous(F.col(f"`{field.name}`"), field.dataType) for field in fields])
    digests = frame.select(F.sha2(row, 256).alias("digest"))
    groups = digests.groupBy(F.substring("digest", 1, _GROUP_DIGITS).alias("group")).agg(
        F.sha2(F.concat_ws("", F.sort_array(F.collect_list("digest"))), 256).alias("digest"), F.count("*").alias("rows")
    )
    found = sorted(groups.collect(), key=lambda group: str(group["group"]))
    schema = "".join(f"{field.name}:{field.dataType.simpleString()};" for field in fields)
    total = sha256(schema.encode())
    for group in found:
        total.update(f"{group['group']}{group['digest']}{group['rows']};".encode())
    return total.hexdigest(), sum(group["rows"] for group in found)


def _unambiguous(column: Column, kind: DataType) -> Column:
    """The value as text with its length in front, so that neighbours cannot run into each other; ``-`` for null."""
    if isinstance(kind, TimestampType):
        text = F.unix_micros(column).cast("string")
    elif isinstance(kind, BinaryType):
        text = F.base64(column)
    elif isinstance(kind, ArrayType | MapType | StructType):
        text = F.to_json(column, {"ignoreNullFields": "false", "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"})
    else:
        text = column.cast("string")
    return F.coalesce(F.concat(F.length(text).cast("string"), F.lit(":"), text), F.lit("-"))


def _described(path: Path) -> _File:
    with path.open("rb") as file:
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return _File(name=path.name, sha256=digest.hexdigest(), bytes=path.stat().st_size)


def _remove_all_but_parquet(folder: Path) -> None:
    for path in folder.iterdir():
        if path.suffix != ".parquet" or path.name.startswith("."):
            path.unlink()


def _publish(aside: Path, final: Path) -> None:
    for path in aside.iterdir():
        path.chmod(0o444)
    try:
        os.rename(aside, final)
    except OSError:
        # The same content is there already: a folder that is not empty cannot be renamed over.
        if not (final / MANIFEST).exists():
            raise


def _verified(snapshot: Snapshot, settings: Settings) -> _Manifest:
    folder = settings.snapshots / snapshot.name / snapshot.hash
    try:
        manifest = _Manifest.model_validate(read_json(folder / MANIFEST, f"the manifest of snapshot {snapshot.name}"))
    except ValidationError as error:
        raise _damaged(
            folder, f"a manifest that says {error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
        ) from error
    if (manifest.name, manifest.hash) != (snapshot.name, snapshot.hash):
        raise _damaged(folder, f"the manifest of {manifest.name}/{manifest.hash}")
    present = {path.name for path in folder.glob("*.parquet")}
    listed = {file.name for file in manifest.files}
    if present != listed:
        raise _damaged(folder, f"missing files {sorted(listed - present)}, unlisted files {sorted(present - listed)}")
    for file in manifest.files:
        if _described(folder / file.name) != file:
            raise _damaged(folder, f"{file.name} changed since it was written")
    return manifest


def _damaged(folder: Path, found: str) -> SchemaMismatchError:
    return SchemaMismatchError(
        "Reading a training snapshot", found=f"{found} in {folder}",
        required="exactly the files and checksums of its manifest",
        next_step="Delete the folder and run build_features again; do not train on it.",
    )  # fmt: skip
