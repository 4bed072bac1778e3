/* The boot program of the lab's disk for UEFI: prints and does what mbr.S does (see there), through boot services.
 *
 * Freestanding and position-independent: no header, no relocation. Structures are those of the UEFI specification 2.10,
 * with the members that are not used left as arrays of pointers. Built with -DMARKER='"..."' -DNOTE=lba -DPARTITION=lba, the
 * latter where on the disk the partition begins that this program was loaded from.
 */
typedef unsigned short char16;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned char u8;
typedef u64 status;
typedef void *handle;
#define EFIAPI __attribute__((ms_abi))

typedef struct { u32 a; unsigned short b, c; u8 d[8]; } guid;

typedef struct text_out {
    void *reset;
    status(EFIAPI *output_string)(struct text_out *, const char16 *);
} text_out;

typedef struct {
    u8 header[24];
    void *unused1[16];
    status(EFIAPI *handle_protocol)(handle, const guid *, void **);
    void *unused2[11];
    status(EFIAPI *stall)(u64 microseconds);
    status(EFIAPI *set_watchdog_timer)(u64 seconds, u64, u64, void *);
    void *unused3[6];
    status(EFIAPI *locate_handle_buffer)(u32 how, const guid *, void *, u64 *count, handle **);
    status(EFIAPI *locate_protocol)(const guid *, void *, void **);
} boot_services;

typedef struct {
    u8 header[24];
    void *vendor;
    u64 revision;
    handle in_handle;
    void *in;
    handle out_handle;
    text_out *out;
    handle err_handle;
    text_out *err;
    void *runtime;
    boot_services *boot;
} system_table;

typedef struct { u64 revision; handle parent; system_table *system; handle device; } loaded_image;

typedef struct { u32 id; u8 removable, present, partition; } media;

typedef struct block_io {
    u64 revision;
    media *media;
    void *reset;
    status(EFIAPI *read)(struct block_io *, u32 media, u64 lba, u64 size, void *);
    status(EFIAPI *write)(struct block_io *, u32 media, u64 lba, u64 size, const void *);
    status(EFIAPI *flush)(struct block_io *);
} block_io;

typedef struct { u32 numbers[10]; u8 multicast[16][32]; u8 current[32]; } network_mode;
typedef struct { u64 revision; void *unused[14]; network_mode *mode; } simple_network;

static const guid LOADED_IMAGE = {0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid BLOCK_IO = {0x964e5b21, 0x6459, 0x11d2, {0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid SIMPLE_NETWORK = {0xa19832b9, 0xac25, 0x11d3, {0x9a, 0x2d, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};
static const char DIGITS[] = "0123456789abcdef";

static void say(system_table *system, const char *text)
{
    char16 wide[2] = {0, 0};
    for (; *text; text++) {
        wide[0] = *text;
        system->out->output_string(system->out, wide);
    }
}

static void name(char *id, const u8 *mac)
{
    for (int i = 0; i < 6; i++) {
        *id++ = DIGITS[mac[i] >> 4];
        *id++ = DIGITS[mac[i] & 15];
        *id++ = i < 5 ? ':' : 0;
    }
}

static status failed(system_table *system)
{
    say(system, "\r\nNOTE-ERROR\r\n");
    return 1;
}

/* What is noted on a whole disk that is not the one with our own name on it. */
static void second(system_table *system, const char *id)
{
    static u8 sector[512];
    handle *handles;
    block_io *disk;
    u64 count, at;
    unsigned i;

    if (system->boot->locate_handle_buffer(2, &BLOCK_IO, 0, &count, &handles))
        return;
    for (at = 0; at < count; at++) {
        if (system->boot->handle_protocol(handles[at], &BLOCK_IO, (void **)&disk) || disk->media->partition ||
            !disk->media->present || disk->read(disk, disk->media->id, NOTE, sizeof sector, sector))
            continue;
        for (i = 0; i < 17 && sector[i] == (u8)id[i]; i++)
            ;
        if (i == 17 || !sector[0])
            continue;
        sector[17] = 0;
        say(system, "SECOND ");
        say(system, (char *)sector);
        say(system, "\r\n");
    }
}

status EFIAPI efi_main(handle image, system_table *system)
{
    static u8 sector[512];
    static char id[18];
    loaded_image *self;
    simple_network *card;
    block_io *disk;
    boot_services *boot = system->boot;

    boot->set_watchdog_timer(0, 0, 0, 0);
    if (!boot->locate_protocol(&SIMPLE_NETWORK, 0, (void **)&card))
        name(id, card->mode->current);
    say(system, "\r\n" MARKER " ");
    say(system, id);
    if (boot->handle_protocol(image, &LOADED_IMAGE, (void **)&self) ||
        boot->handle_protocol(self->device, &BLOCK_IO, (void **)&disk) ||
        disk->read(disk, disk->media->id, NOTE - PARTITION, sizeof sector, sector))
        return failed(system);
    say(system, "\r\nNOTE-WAS ");
    sector[17] = 0;
    say(system, (char *)sector);
    for (unsigned i = 0; i < sizeof id; i++)
        sector[i] = id[i];
    if (disk->write(disk, disk->media->id, NOTE - PARTITION, sizeof sector, sector) || disk->flush(disk) ||
        disk->read(disk, disk->media->id, NOTE - PARTITION, sizeof sector, sector))
        return failed(system);
    say(system, "\r\nNOTE-IS ");
    say(system, (char *)sector);
    say(system, "\r\n");
    second(system, id);
    for (;;) {
        boot->stall(1000000);
        disk->read(disk, disk->media->id, NOTE - PARTITION, sizeof sector, sector);
    }
}

/* Firmware refuses a program that says it cannot be moved; an empty table says that it can. */
__attribute__((section(".reloc"), used)) static const u32 relocations[3] = {0, 12, 0};
