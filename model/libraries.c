#include "config.h"
#include "model/libraries.h"

#include <stdio.h>

#include <curl/curl.h>
#include <jansson.h>
#include <utf8proc.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/hash.h"
#include "base/mem.h"

static struct sn_library library(const char *name, const char *version)
{
    struct sn_library l = {.name = name};
    snprintf(l.version, sizeof l.version, "%s", version);
    return l;
}

size_t sn_libraries(struct sn_library *list, size_t n)
{
    char pcre2[48] = "unknown";
    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) <= (int)sizeof pcre2)
        pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    const struct sn_library all[] = {
        library("libcrypto", sn_hash_library()),
        library("PCRE2", pcre2),
        library("utf8proc", utf8proc_version()),
        library("jansson", jansson_version_str()),
        library("libcurl", curl_version_info(CURLVERSION_NOW)->version),
    };
    for (size_t i = 0; i < n && i < SN_COUNT(all); i++)
        list[i] = all[i];
    return SN_COUNT(all);
}
