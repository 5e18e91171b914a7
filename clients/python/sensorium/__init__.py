"""Client of sensoriumd.

    import sensorium

    with sensorium.Client() as client:
        job = client.submit("What is this?", images=["photo.jpg"])
        for text in job.stream():
            print(text, end="", flush=True)
"""

from .aio import AsyncClient, AsyncJob
from .client import Client, Job
from .errors import (BadRequest, Forbidden, JobFailed, KeyConflict, NoAnswer, NotFinal, NotFinished, NotFound, Refused,
                     Rejected, SensoriumError, StreamDiverged, TooLarge, UnknownHash, UnknownModel)
from .protocol import Event, Medium, Result, Status

__version__ = "0.1.0"
__all__ = [
    "AsyncClient", "AsyncJob", "BadRequest", "Client", "Event", "Forbidden", "Job", "JobFailed", "KeyConflict",
    "Medium", "NoAnswer", "NotFinal", "NotFinished", "NotFound", "Refused", "Rejected", "Result", "SensoriumError",
    "Status", "StreamDiverged", "TooLarge", "UnknownHash", "UnknownModel",
]
