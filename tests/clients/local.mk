# tests of clients/: tests/clients/fake_daemon.py is what they talk to.
dist_check_SCRIPTS += tests/clients/python_client.py tests/clients/front.py
TESTS += tests/clients/python_client.py tests/clients/front.py
EXTRA_DIST += tests/clients/fake_daemon.py clients/python/README.md clients/python/pyproject.toml \
  clients/python/sensorium/__init__.py clients/python/sensorium/_flow.py clients/python/sensorium/_link.py \
  clients/python/sensorium/aio.py clients/python/sensorium/client.py clients/python/sensorium/errors.py \
  clients/python/sensorium/protocol.py clients/python/sensorium/py.typed
