#include "config.h"
#include "base/prompt.h"

#include "base/mem.h"

void sn_prompt_fini(struct sn_prompt *p)
{
    sn_free(p->tokens);
    sn_free(p->rows);
    sn_free(p->at);
    sn_free(p->spans);
    sn_free(p->places);
    sn_free(p->memory);
    sn_free(p->looks);
    *p = (struct sn_prompt){0};
}
