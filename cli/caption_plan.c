#include "config.h"
#include "cli/caption_plan.h"

#include <string.h>

#include "base/mem.h"

int caption_policy_parse(const char *name)
{
    static const char *const names[] = {"keep", "replace", "append"};
    for (size_t i = 0; i < SN_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    return -1;
}

/* What may be done about what is there, when a caption is wanted. */
static enum caption_verdict want(enum caption_found found, enum caption_policy policy,
                                 enum caption_verdict otherwise)
{
    if (found != CAPTION_FOREIGN)
        return CAPTION_WRITE;
    return policy == CAPTION_APPEND ? CAPTION_ADD : otherwise;
}

/* Contents and settings are what they were. */
static enum caption_verdict finished(enum caption_found found)
{
    if (found == CAPTION_ABSENT)
        return CAPTION_DELETED;
    return found == CAPTION_FOREIGN ? CAPTION_EDITED : CAPTION_DONE;
}

enum caption_verdict caption_judge(const struct caption_facts *f, enum caption_policy policy, bool redo)
{
    if (f->known && f->writing && f->found == CAPTION_OURS && f->same_contents && f->same_settings && !redo)
        return CAPTION_ADOPT;
    if (!f->known || f->writing)
        return want(f->found, policy, CAPTION_PERSON);
    if (!f->same_contents || redo)
        return want(f->found, policy, CAPTION_EDITED);
    if (f->same_settings)
        return finished(f->found);
    if (policy != CAPTION_KEEP)
        return want(f->found, policy, CAPTION_EDITED);
    return f->found == CAPTION_OURS ? CAPTION_OTHER_SETTINGS : finished(f->found);
}

const char *caption_verdict_text(enum caption_verdict v)
{
    static const char *const texts[CAPTION_VERDICTS] = {
        [CAPTION_WRITE] = "no caption yet",
        [CAPTION_ADD] = "a person's words are there, to be added to",
        [CAPTION_ADOPT] = "the caption is there",
        [CAPTION_DONE] = "done already",
        [CAPTION_PERSON] = "a person's words are there",
        [CAPTION_EDITED] = "a person edited the caption",
        [CAPTION_DELETED] = "a person deleted the caption (--redo writes it again)",
        [CAPTION_OTHER_SETTINGS] = "captioned with another prompt or model (--existing replace does it anew)",
    };
    return texts[v];
}
