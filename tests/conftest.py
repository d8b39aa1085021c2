"""What all tests may ask for, and how hypothesis runs."""

from hypothesis import HealthCheck, settings

from tests.s3_server import s3_server

__all__ = ["s3_server"]

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("imgmine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("imgmine")
