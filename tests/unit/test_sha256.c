/* SHA-256 against the examples of FIPS 180-4 and of NIST's SHAVS: lengths around the padding's
 * edges, pieces of any size, and a file. */
#include "experiments/sha256.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *text, *hex;
} vectors[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnop"
     "qrsmnopqrstnopqrstu",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
};

START_TEST(test_vectors)
{
    struct sha256 s;
    char hex[SHA256_HEX];
    sha256_begin(&s);
    sha256_add(&s, vectors[_i].text, strlen(vectors[_i].text));
    sha256_end(&s, hex);
    ck_assert_str_eq(hex, vectors[_i].hex);
}
END_TEST

START_TEST(test_million_in_pieces)
{
    char piece[997];
    memset(piece, 'a', sizeof piece);
    struct sha256 s;
    char hex[SHA256_HEX];
    sha256_begin(&s);
    size_t left = 1000000;
    for (size_t want = 1; left > 0; want = want % sizeof piece + 1) {
        size_t n = MIN(want, left);
        sha256_add(&s, piece, n);
        left -= n;
    }
    sha256_end(&s, hex);
    ck_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
END_TEST

START_TEST(test_lengths_around_the_padding) /* values by coreutils' sha256sum of 'a' x n */
{
    static const struct {
        size_t n;
        const char *hex;
    } cases[] = {
        {55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
        {64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
    };
    char text[64];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sha256 s;
        char hex[SHA256_HEX];
        sha256_begin(&s);
        sha256_add(&s, text, cases[i].n);
        sha256_end(&s, hex);
        ck_assert_str_eq(hex, cases[i].hex);
    }
}
END_TEST

START_TEST(test_file)
{
    char path[] = "/tmp/tandem-sha256-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "abc", 3), 3);
    close(fd);
    struct err e = {0};
    char hex[SHA256_HEX];
    ck_assert_msg(sha256_file(path, hex, &e), "%s", e.text);
    ck_assert_str_eq(hex, vectors[1].hex);
    unlink(path);
    ck_assert(!sha256_file(path, hex, &e));
    ck_assert_ptr_nonnull(strstr(e.text, path));
    struct err directory = {0};
    ck_assert(!sha256_file("/tmp", hex, &directory));
}
END_TEST

static void write_in(const char *folder, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void hash_folder(const char *folder, char hex[SHA256_HEX])
{
    struct err e = {0};
    ck_assert_msg(sha256_path(folder, hex, &e), "%s", e.text);
}

/* A folder's hash follows every name and every byte in it, and nothing else. */
START_TEST(test_folder)
{
    char folder[] = "/tmp/tandem-sha256-XXXXXX", below[64], hex[5][SHA256_HEX];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(below, sizeof below, "%s/below", folder);
    ck_assert_int_eq(mkdir(below, 0700), 0);
    write_in(folder, "b", "1");
    write_in(below, "a", "2");
    hash_folder(folder, hex[0]);
    write_in(below, "a", "3");
    hash_folder(folder, hex[1]);
    write_in(below, "c", "");
    hash_folder(folder, hex[2]);
    hash_folder(below, hex[3]);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(hex[i], hex[j]);
    char path[96];
    snprintf(path, sizeof path, "%s/c", below);
    unlink(path);
    write_in(below, "a", "2");
    hash_folder(folder, hex[4]);
    ck_assert_str_eq(hex[4], hex[0]);
    snprintf(path, sizeof path, "%s/a", below);
    unlink(path);
    snprintf(path, sizeof path, "%s/b", folder);
    unlink(path);
    rmdir(below);
    rmdir(folder);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("sha256");
    tcase_add_loop_test(tc, test_vectors, 0, (int)ARRAY_LEN(vectors));
    tcase_add_test(tc, test_million_in_pieces);
    tcase_add_test(tc, test_lengths_around_the_padding);
    tcase_add_test(tc, test_file);
    tcase_add_test(tc, test_folder);
    Suite *suite = suite_create("sha256");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
