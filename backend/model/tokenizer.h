/* tokenizer.h: byte-level BPE (Radford et al. 2019; Sennrich et al. 2016) from the metadata of a
 * GGUF file. Any bytes can be encoded, and decoding gives them back, but for bytes that the
 * vocabulary has no token for, which are left out, as Hugging Face's library does (SmolLM2 lacks a
 * few control characters and the bytes that UTF-8 does not use). */
#ifndef BACKEND_MODEL_TOKENIZER_H
#define BACKEND_MODEL_TOKENIZER_H

#include "sim/base.h"

struct tokenizer;

/* A growing list; zeroed is empty; free `id` with mem_free. */
struct tokens {
    uint32_t *id;
    size_t n, cap;
};

/* Vocabularies of kind gpt2 with the splitting of words of GPT-2 or SmolLM. */
struct tokenizer *tokenizer_open(const char *gguf_path, struct err *e) NODISCARD;
void tokenizer_close(struct tokenizer *t); /* NULL is fine */
uint32_t tokenizer_vocab(const struct tokenizer *t);

/* Appends the tokens of a text. Names of control tokens in it are text like any other. */
void tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, struct tokens *out);
/* Appends the prompt as a user's turn, and the opening of the answer, in ChatML:
 * <|im_start|>user\nPROMPT<|im_end|>\n<|im_start|>assistant\n. False, and nothing appended: the
 * vocabulary has no tokens for that. */
bool tokenizer_encode_chat(const struct tokenizer *t, const char *prompt, size_t len,
                           struct tokens *out) NODISCARD;

/* The bytes of a token; none for control tokens. id < vocab. */
const char *tokenizer_piece(const struct tokenizer *t, uint32_t id, size_t *len);
/* Control tokens are not text: an answer ends at one. */
bool tokenizer_is_control(const struct tokenizer *t, uint32_t id);

#endif
