"""The whole read model behind one face."""

from grace_gateway.adapters.record_reader import RecordReader
from grace_gateway.adapters.submission_reader import SubmissionReader


class PostgresViews(SubmissionReader, RecordReader):
    """Implements Views."""
