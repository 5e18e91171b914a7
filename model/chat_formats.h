#ifndef SN_MODEL_CHAT_FORMATS_H
#define SN_MODEL_CHAT_FORMATS_H
/* The built-in chat formats: Jinja like the models' own, so that there is one mechanism. */

struct sn_chat_format {
    const char *name, *source;
};
extern const struct sn_chat_format sn_chat_formats[]; /* ended by a NULL name */

#endif
