"""Rows like those of AI Impact on Jobs 2030, for those who lack the file: made up, and said to be."""

import csv
import random
from pathlib import Path

from contracts.landed_files import JOBS

#: The sum of the published shares of the three owners.
ROWS = 3000
#: Titles by class. In the published file a title nearly always has one.
_TITLES = {
    "Low": ("AI Engineer", "Doctor", "Nurse", "Research Scientist", "Teacher"),
    "Medium": (
        "Chef", "Data Scientist", "Financial Analyst", "Graphic Designer", "HR Specialist", "Lawyer",
        "Marketing Manager", "Mechanic", "Software Engineer", "UX Researcher",
    ),
    "High": ("Construction Worker", "Customer Support", "Retail Worker", "Security Guard", "Truck Driver"),
}  # fmt: skip
#: Hundredths of the probability that titles of a class range over. As published, .70 is Medium for every title.
_RANGES = {"Low": (5, 30), "Medium": (31, 70), "High": (70, 95)}
_EDUCATION = ("High School", "Bachelor's", "Master's", "PhD")


def write(path: Path, rows: int = ROWS, seed: int = 42) -> None:
    """A CSV file with the published columns: the class follows from the probability, and all but follows from the
    title; the other columns know nothing of it."""
    draws = random.Random(seed)  # noqa: S311 - nothing secret
    titles = [(title, of) for of, group in _TITLES.items() for title in group]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.names[0] for field in JOBS.fields])
        for _ in range(rows):
            title, of = draws.choice(titles)
            percent = draws.randint(*_RANGES[of])
            risk = "Low" if percent <= 30 else "Medium" if percent <= 70 else "High"
            others = [round(draws.random(), 2) for _ in range(10)]
            writer.writerow(
                [title, draws.randint(30_000, 149_999), draws.randint(0, 29), draws.choice(_EDUCATION),
                 round(draws.random(), 2), round(draws.uniform(0.5, 1.5), 2), percent / 100, risk, *others]
            )  # fmt: skip
