noinst_LIBRARIES += cli/libquantize.a
cli_libquantize_a_SOURCES = cli/quantize.c cli/quantize.h cli/quantize_plan.c
EXTRA_DIST += cli/cmd_quantize.c
