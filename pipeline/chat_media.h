#ifndef SN_PIPELINE_CHAT_MEDIA_H
#define SN_PIPELINE_CHAT_MEDIA_H
/* Conversations with media: messages through the chat template to a fused prompt. */

#include <jansson.h>

#include "fusion/fuse.h"
#include "model/chat.h"
#include "pipeline/watch.h"

struct sn_chat_media {
    const struct sn_chat *chat;
    const struct sn_tokenizer *tokenizer;
    const struct sn_medium *media;  /* in the order in which they stand in the messages */
    size_t n_media;
    uint32_t width;
};
/* messages: as templates take them; the content of one with media is a list of parts,
 * {"type": "image"}, {"type": "video"}, {"type": "audio"} and {"type": "text", "text": ...}, of which all
 * but the last stand for a medium. Templates that know parts say
 * themselves where media stand; for others the parts are put together to one text. What stands in texts
 * never becomes a control token or a medium. sn_prompt_fini() ends *out. */
int sn_chat_media_fuse(const struct sn_chat_media *c, const json_t *messages, struct sn_prompt *out,
                       struct sn_diag *d);

/* Appends the parts that a medium is in a message: a picture, a video (or a picture for each frame, where
 * these are media of their own), a recording; and the sound of a video behind it. `w`: of a video, else
 * NULL. */
int sn_chat_media_parts(json_t *parts, bool picture, const struct sn_watched *w, bool sound,
                        struct sn_diag *d);

#endif
