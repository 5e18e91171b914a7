#ifndef SN_CLI_CAPTION_PLAN_H
#define SN_CLI_CAPTION_PLAN_H
/* What is to be done about a file, from what the ledger says of it and what is there. */

#include "cli/caption_sidecar.h"

#include <stdbool.h>

enum caption_policy { CAPTION_KEEP, CAPTION_REPLACE, CAPTION_APPEND };
int caption_policy_parse(const char *name); /* -1: no such policy */

struct caption_facts {
    bool known;                  /* the ledger has an entry for this file and target; the rest is of that: */
    bool writing;                /* a run was killed while it wrote */
    bool same_contents;          /* the file is what it was */
    bool same_settings;
    enum caption_found found;
};

enum caption_verdict {
    CAPTION_WRITE,               /* a caption is wanted: in place of nothing, or of what is ours */
    CAPTION_ADD,                 /* likewise, below a person's words */
    CAPTION_ADOPT,               /* it is there, and the ledger is to know */
    CAPTION_DONE,                /* nothing: it is there */
    CAPTION_PERSON,              /* nothing: a person's words are there */
    CAPTION_EDITED,              /* nothing: a person changed ours */
    CAPTION_DELETED,             /* nothing: a person deleted ours */
    CAPTION_OTHER_SETTINGS,      /* nothing: it is there, from another prompt or model */
    CAPTION_VERDICTS,
};
/* A caption is made once for a file's contents and the settings. What a person makes of it afterwards stands,
 * whatever the policy is, unless `redo`; a person's words are never replaced, not even then. */
enum caption_verdict caption_judge(const struct caption_facts *f, enum caption_policy policy, bool redo);
/* "a person's words are there", ...; of what is nothing to do */
const char *caption_verdict_text(enum caption_verdict v);

#endif
