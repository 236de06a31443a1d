"""What every part of the platform agrees on: names, schemas, settings, results and errors.

Only the standard library, pydantic and PyYAML, so that Airflow, Spark, the live page and the command line can all load
it.
"""
