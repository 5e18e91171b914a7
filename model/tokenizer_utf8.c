#include "config.h"

#include "model/tokenizer_impl.h"

/* UTF-8 by the Unicode Standard's table 3-7 (no surrogates, nothing overlong), and GPT-2's
 * alphabet, which gives every byte a printable character. */

/* Bytes of the character that lead begins, 0 when none does; [*lo, *hi] bounds the second. */
static size_t char_bytes(unsigned char lead, unsigned char *lo, unsigned char *hi)
{
    *lo = 0x80;
    *hi = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    if (lead < 0xE0)
        return 2;
    if (lead == 0xE0 || lead == 0xF0)
        *lo = lead == 0xE0 ? 0xA0 : 0x90;
    if (lead == 0xED || lead == 0xF4)
        *hi = lead == 0xED ? 0x9F : 0x8F;
    return lead < 0xF0 ? 3 : 4;
}

enum sn_utf8 sn_utf8_step(const char *s, size_t n, size_t *len)
{
    unsigned char lo, hi;
    const size_t want = char_bytes((unsigned char)s[0], &lo, &hi);
    *len = 1;
    if (want == 0)
        return SN_UTF8_BAD;
    for (; *len < want; ++*len) {
        if (*len == n)
            return SN_UTF8_CUT;
        const unsigned char b = (unsigned char)s[*len];
        if (b < lo || b > hi)
            return SN_UTF8_BAD;
        lo = 0x80;
        hi = 0xBF;
    }
    return SN_UTF8_OK;
}

unsigned sn_utf8_cp(const char *s, size_t len)
{
    const unsigned char lead = (unsigned char)s[0];
    unsigned cp = len == 1 ? lead : lead & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++)
        cp = cp << 6 | ((unsigned char)s[i] & 0x3Fu);
    return cp;
}

/* Those 188 bytes that are printable in Latin-1 stand for themselves, the others, in order, are
 * U+0100 and up. */
unsigned sn_tok_byte_to_cp(unsigned char b)
{
    if (b <= 0x20)
        return 0x100u + b;
    if (b >= 0x7F && b <= 0xA0)
        return 0x121u + (b - 0x7Fu);
    return b == 0xAD ? 0x143u : b;
}

int sn_tok_cp_to_byte(unsigned cp)
{
    if ((cp >= 0x21 && cp <= 0x7E) || (cp >= 0xA1 && cp <= 0xFF && cp != 0xAD))
        return (int)cp;
    if (cp >= 0x100 && cp <= 0x120)
        return (int)(cp - 0x100);
    if (cp >= 0x121 && cp <= 0x142)
        return (int)(cp - 0x121 + 0x7F);
    return cp == 0x143 ? 0xAD : -1;
}
