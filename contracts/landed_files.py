"""Every subject whose files can be landed. Names in headers are the publishers' own."""

from contracts.errors import ConfigurationError
from contracts.landed import Constant, Landed, LandedField, Layout, Type

_LOW_LEVEL = (
    "lepton_pT", "lepton_eta", "lepton_phi", "missing_energy_magnitude", "missing_energy_phi",
    *(f"jet_{n}_{what}" for n in (1, 2, 3, 4) for what in ("pt", "eta", "phi", "btag")),
)  # fmt: skip
_HIGH_LEVEL = ("m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb")
_PUBLISHED = (*_LOW_LEVEL, *_HIGH_LEVEL)
#: The 28 features of HIGGS in the order of the publisher (Baldi, Sadowski and Whiteson, Nature Communications 5, 2014).
HIGGS_FEATURES = tuple(name.lower() for name in _PUBLISHED)


def _field(column: str, type_: Type, name: str, about: str, *, required: bool = True) -> LandedField:
    return LandedField(column=column, type=type_, about=about, names=(name,), required=required)


def _count(column: str, name: str, which: str) -> LandedField:
    about = f"vehicles in the quarter, {which}; fractional where imputed, null where unknown"
    return _field(column, "double", name, about, required=False)


def _higgs_feature(number: int, name: str) -> LandedField:
    kind = "measured" if name in _LOW_LEVEL else "derived from the measured ones"
    about = f"{kind}, dimensionless as published"
    return LandedField(column=name.lower(), type="double", about=about, names=(name, f"x{number}"))


HIGGS = Landed(
    subject="higgs",
    about="One row per simulated collision: signal (a Higgs boson) or background.",
    fields=(
        LandedField(column="label", type="int", about="1 signal, 0 background", names=("label", "response")),
        *(_higgs_feature(number, name) for number, name in enumerate(_PUBLISHED, start=1)),
    ),
    layouts=(
        Layout(name="csv with a header", header=True),
        Layout(name="csv without a header, label first", header=False, order=("label", *HIGGS_FEATURES)),
        Layout(
            name="tsv without a header, label first", header=False, delimiter="\t", order=("label", *HIGGS_FEATURES)
        ),
    ),
)

TRAFFIC_COUNTS = Landed(
    subject="traffic_counts",
    about="National Highways' TRIS: vehicles that passed a site in each quarter of an hour.",
    constants=(
        Constant(
            column="site",
            about="the publisher's identifier of the site",
            in_preamble=r"(?m)^Legacy ID, Site Name\s*\n([^,\n]+),",
            in_name=r"_Site_([A-Za-z0-9]+)[_.]",
        ),
    ),
    fields=(
        LandedField(
            column="starts_at",
            type="timestamp",
            about="clock time of the site, no time zone, as the publisher says it",
            names=("Local Date",),
            joined_with=("Local Time",),
            formats=("d/M/yyyy H:mm:ss",),
        ),
        _field("day_type", "int", "Day Type ID", "the publisher's kind of day"),
        _count("flow", "Total Carriageway Flow", "all vehicles"),
        _count("flow_below_5_2_m", "Total Flow vehicles less than 5.2m", "shorter than 5.2 m"),
        _count("flow_5_2_to_6_6_m", "Total Flow vehicles 5.21m - 6.6m", "5.21 to 6.6 m"),
        _count("flow_6_6_to_11_6_m", "Total Flow vehicles 6.61m - 11.6m", "6.61 to 11.6 m"),
        _count("flow_above_11_6_m", "Total Flow vehicles above 11.6m", "longer than 11.6 m"),
        _field("speed_km_h", "double", "Speed Value", "mean speed, km/h; null unknown", required=False),
    ),
    layouts=(Layout(name="TRIS report", header=True),),
)

MOVIE_RATINGS = Landed(
    subject="movie_ratings",
    about="MovieLens: what a user gave a film, and when.",
    members=r"(^|/)ratings\.csv$",
    fields=(
        _field("user_id", "int", "userId", "MovieLens' user"),
        _field("movie_id", "int", "movieId", "MovieLens' film"),
        _field("rating", "double", "rating", "0.5 to 5 stars"),
        _field("rated_at_s", "bigint", "timestamp", "seconds since 1970, UTC"),
    ),
    layouts=(Layout(name="ratings.csv", header=True),),
)

MOVIES = Landed(
    subject="movies",
    about="MovieLens: title and genres of each film.",
    members=r"(^|/)movies\.csv$",
    fields=(
        _field("movie_id", "int", "movieId", "MovieLens' film"),
        _field("title", "string", "title", "title with the year; a few stand there twice under different ids"),
        _field("genres", "string", "genres", "genres joined by |, or (no genres listed)"),
    ),
    layouts=(Layout(name="movies.csv", header=True),),
)

JOBS = Landed(
    subject="jobs",
    about="AI Impact on Jobs 2030: one row per occupation record.",
    fields=(
        _field("job_title", "string", "Job_Title", "occupation"),
        _field("average_salary", "double", "Average_Salary", "US dollars a year"),
        _field("years_experience", "int", "Years_Experience", "years"),
        _field("education_level", "string", "Education_Level", "High School, Bachelor's, Master's or PhD"),
        _field("ai_exposure_index", "double", "AI_Exposure_Index", "0 to 1"),
        _field("tech_growth_factor", "double", "Tech_Growth_Factor", "as published"),
        _field("automation_probability_2030", "double", "Automation_Probability_2030", "0 to 1"),
        _field("risk_category", "string", "Risk_Category", "Low, Medium or High: steps of the probability"),
        *(_field(f"skill_{n}", "double", f"Skill_{n}", "0 to 1, as published") for n in range(1, 11)),
    ),
    layouts=(Layout(name="csv with a header", header=True),),
)

LANDED: dict[str, Landed] = {each.subject: each for each in (HIGGS, TRAFFIC_COUNTS, MOVIE_RATINGS, MOVIES, JOBS)}


def landed(subject: str) -> Landed:
    """The contract of a subject's files; another name is a ConfigurationError that lists those that exist."""
    if subject not in LANDED:
        raise ConfigurationError(
            "Looking up a subject", found=repr(subject), required="one of " + ", ".join(LANDED),
            next_step="Correct the name, or add the subject to contracts/landed_files.py.",
        )  # fmt: skip
    return LANDED[subject]


def landed_as(dataset: str) -> Landed:
    """The contract of the files whose rows are stored in this table; ValueError for a table of something else."""
    found = next((each for each in LANDED.values() if each.bronze.name == dataset), None)
    if found is None:
        raise ValueError(f"{dataset} is no table of landed files")
    return found
