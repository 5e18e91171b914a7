# SENSORIUM (and SN_TEST_SMOLLM2) say what to test; README.md in tests/reference.
dist_check_SCRIPTS += tests/llm/families.py tests/llm/smollm2.py
TESTS += tests/llm/families.py tests/llm/smollm2.py
