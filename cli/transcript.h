#ifndef SN_CLI_TRANSCRIPT_H
#define SN_CLI_TRANSCRIPT_H
/* Transcripts as people want them: text, SubRip (.srt), WebVTT (.vtt), JSON. */

#include "base/diag.h"
#include "pipeline/transcribe.h"

#include <stdio.h>

enum cli_transcript_format { CLI_TXT, CLI_SRT, CLI_VTT, CLI_JSON };
/* By name: "txt", "srt", "vtt", "json"; -1: none of these. */
int cli_transcript_format(const char *name);
const char *cli_transcript_suffix(enum cli_transcript_format f);

/* The whole transcript of `file`. -SN_ENOMEM; whether the bytes arrived is the caller's to ask. */
int cli_transcript_print(FILE *to, enum cli_transcript_format f, const char *file,
                         const struct sn_transcript *t, struct sn_diag *d);

#endif
