/* quant: how the block formats of GGUF lie in memory, and the two packings of scales that all kernels share.
 *
 * Every format stores weights as w = scale * u + offset with a small unsigned u; the kernels use all of them in this
 * form. Numbers in brackets are bits. Elements e = 0.. count within the block; f16 values are little endian. The layouts
 * are those of GGUF files as the PyPI package `gguf` (gguf/quants.py) reads them; the tests hold them against it. */
#ifndef KERNELS_QUANT_H
#define KERNELS_QUANT_H

#include <stdint.h>
#include <string.h>

#define PACKED __attribute__((packed)) /* blocks may begin at any address */

/* ---- blocks of 32 -------------------------------------------------------------------------------------------------- */

/* Four-bit formats keep elements e and e + 16 in one byte:
 *
 *     qs[e]   | u[e + 16] (4) | u[e] (4) |      e = 0..15
 *
 * Five-bit formats keep bit 4 of all elements apart: bit e of qh, little endian. */
struct PACKED q4_0 { uint16_t d; uint8_t qs[16]; };                          /* w = d (u - 8) */
struct PACKED q4_1 { uint16_t d, m; uint8_t qs[16]; };                       /* w = d u + m */
struct PACKED q5_0 { uint16_t d; uint8_t qh[4]; uint8_t qs[16]; };           /* w = d (u - 16) */
struct PACKED q5_1 { uint16_t d, m; uint8_t qh[4]; uint8_t qs[16]; };        /* w = d u + m */
struct PACKED q8_0 { uint16_t d; int8_t qs[32]; };                           /* w = d q = d (u - 128), u = q + 128 */

/* ---- super-blocks of 256 = 8 groups of 32 = 16 groups of 16 --------------------------------------------------------- */

/* Two-bit parts: four groups of 32 share 32 bytes; the first 128 elements in qs[0..31], the others in qs[32..63]:
 *
 *     qs[e]   | u[e + 96] (2) | u[e + 64] (2) | u[e + 32] (2) | u[e] (2) |      e = 0..31
 *
 * Four-bit parts of Q4_K and Q5_K: two groups of 32 share 32 bytes, four times:
 *
 *     qs[e]   | u[e + 32] (4) | u[e] (4) |      e = 0..31
 *
 * One-bit parts: bit g of byte e belongs to element 32 g + e. */

/* w = d s u - dmin m, one byte | m (4) | s (4) | for each 16. */
struct PACKED q2_k { uint8_t scales[16]; uint8_t qs[64]; uint16_t d, dmin; };
/* w = d s (u - 4), s in -32..31 for each 16; u has bit 2 in hmask. */
struct PACKED q3_k { uint8_t hmask[32]; uint8_t qs[64]; uint8_t scales[12]; uint16_t d; };
/* w = d s u - dmin m, s and m in 0..63 for each 32. */
struct PACKED q4_k { uint16_t d, dmin; uint8_t scales[12]; uint8_t qs[128]; };
/* The same; u has bit 4 in qh. */
struct PACKED q5_k { uint16_t d, dmin; uint8_t scales[12]; uint8_t qh[32]; uint8_t qs[128]; };
/* w = d s (u - 32), s in -128..127 for each 16. Each half of 128 elements has 64 bytes of low and 32 of high bits:
 *
 *     ql[e]   | u[e + 64] (4) | u[e] (4) |                                              e = 0..63
 *     qh[e]   | u[e + 96] (2) | u[e + 64] (2) | u[e + 32] (2) | u[e] (2) | bits 4, 5     e = 0..31 */
struct PACKED q6_k { uint8_t ql[128]; uint8_t qh[64]; int8_t scales[16]; uint16_t d; };

#define SUPER 256

/* ---- scales of six bits ---------------------------------------------------------------------------------------------- */

/* Q4_K and Q5_K: 8 scales s and 8 minimums m in 12 bytes, i = 0..3:
 *
 *     packed[i]       | s[i + 4] bits 4, 5 (2) | s[i] (6) |
 *     packed[i + 4]   | m[i + 4] bits 4, 5 (2) | m[i] (6) |
 *     packed[i + 8]   | m[i + 4] (4) | s[i + 4] (4) |
 *
 * Four bytes are handled at a time; no bit crosses a byte. Word i of the results holds bytes 4i .. 4i + 3. */
static inline void q4_k_scales(const uint8_t packed[12], uint32_t s[2], uint32_t m[2])
{
    uint32_t a, b, c;
    memcpy(&a, packed, 4), memcpy(&b, packed + 4, 4), memcpy(&c, packed + 8, 4);
    s[0] = a & 0x3f3f3f3fu;
    s[1] = (c & 0x0f0f0f0fu) | ((a >> 2) & 0x30303030u);
    m[0] = b & 0x3f3f3f3fu;
    m[1] = ((c >> 4) & 0x0f0f0f0fu) | ((b >> 2) & 0x30303030u);
}

/* Q3_K: 16 scales s + 32 in 12 bytes:
 *
 *     packed[i]       | s[i + 8] (4) | s[i] (4) |                                              i = 0..7
 *     packed[i + 8]   | s[i + 12] (2) | s[i + 8] (2) | s[i + 4] (2) | s[i] (2) | bits 4, 5      i = 0..3 */
static inline void q3_k_scales(const uint8_t packed[12], uint32_t s[4])
{
    uint32_t a, b, c;
    memcpy(&a, packed, 4), memcpy(&b, packed + 4, 4), memcpy(&c, packed + 8, 4);
    s[0] = (a & 0x0f0f0f0fu) | ((c << 4) & 0x30303030u);
    s[1] = (b & 0x0f0f0f0fu) | ((c << 2) & 0x30303030u);
    s[2] = ((a >> 4) & 0x0f0f0f0fu) | (c & 0x30303030u);
    s[3] = ((b >> 4) & 0x0f0f0f0fu) | ((c >> 2) & 0x30303030u);
}

#endif
