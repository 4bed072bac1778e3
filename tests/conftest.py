"""What all tests share: laws are looked for the same way every time, and a busy machine is no counter-example."""

from hypothesis import HealthCheck, settings

settings.register_profile("ggnet", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ggnet")
