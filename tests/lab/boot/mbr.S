/* The boot code of the lab's disk for BIOS: says that it runs, leaves a note on its disk, and stays alive.
 *
 * At most 440 bytes (the partition table follows). Built with -DMARKER='"..."' -DNOTE=lba. It prints
 * through the BIOS, which sends it to the serial port in order with its own output, one line each:
 *     MARKER <id>       id: the card's MAC from iPXE's iBFT (0 bytes when the disk is a local one)
 *     NOTE-WAS <text>   what the note sector held: the id of whoever wrote there, or nothing
 *     NOTE-IS <text>    what it holds after writing our id (NOTE-ERROR when the disk refused)
 *     SECOND <text>     what the note sector of the next disk holds, where there is one
 * Then it reads the sector once a second: iPXE answers the target's pings only while it is called.
 */
.code16
.set BUFFER, 0x8000
.set ID, 0x8400

start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    mov %ax, %es
    sti
    cld
    ljmp $0, $begin + 0x7c00
begin:
    mov %dl, drive + 0x7c00

/* iBFT 1.03: "iBFT" on a 16-byte boundary between 512 KiB and 640 KiB; the word at 0x3a points to NIC 0, MAC at +90. */
    mov $ID, %di
    mov $0x8000, %bx
seek:
    mov %bx, %fs
    cmpl $0x54464269, %fs:0
    je found
    inc %bx
    cmp $0xa000, %bx
    jb seek
    jmp named
found:
    mov %fs:0x3a, %si
    add $90, %si
    mov $6, %cx
octet:
    mov %fs:(%si), %al
    inc %si
    push %ax
    shr $4, %al
    call digit
    pop %ax
    and $15, %al
    call digit
    mov $':', %al
    stosb
    loop octet
    dec %di
named:
    xor %al, %al
    stosb

    mov $marker + 0x7c00, %si
    call print
    mov $ID, %si
    call print

    mov $0x42, %ah
    call disk
    mov $was + 0x7c00, %si
    call print
    mov $BUFFER, %si
    call print

    mov $ID, %si
    mov $BUFFER, %di
    mov $18, %cx
    rep movsb
    mov $0x43, %ah
    call disk
    mov $0x42, %ah
    call disk
    mov $is + 0x7c00, %si
    call print
    mov $BUFFER, %si
    call print
    mov $end + 0x7c00, %si
    call print

    incb drive + 0x7c00
    mov $0x42, %ah
    call access
    jc alone
    mov $second + 0x7c00, %si
    call print
    mov $BUFFER, %si
    call print
    mov $end + 0x7c00, %si
    call print
alone:
    decb drive + 0x7c00

alive:
    mov $18, %cx
tick:
    sti                             /* iPXE's INT 13h comes back with interrupts off */
    hlt
    loop tick
    mov $0x42, %ah
    call disk
    jmp alive

access:                             /* ah: 0x42 read, 0x43 write; the note sector, to or from BUFFER */
    mov $packet + 0x7c00, %si
    xor %al, %al
    mov drive + 0x7c00, %dl
    int $0x13
    ret

disk:
    call access
    jnc done
    mov $error + 0x7c00, %si
    call print
halt:
    hlt
    jmp halt

digit:
    add $'0', %al
    cmp $'9', %al
    jbe store
    add $'a' - '0' - 10, %al
store:
    stosb
done:
    ret

print:
    lodsb
    test %al, %al
    jz done
    mov $0x0e, %ah
    mov $7, %bx
    int $0x10
    jmp print

drive:  .byte 0
packet: .byte 16, 0
        .word 1, BUFFER, 0
        .quad NOTE
marker: .ascii "\r\n"
        .ascii MARKER
        .asciz " "
was:    .asciz "\r\nNOTE-WAS "
is:     .asciz "\r\nNOTE-IS "
second: .asciz "\r\nSECOND "
error:  .ascii "\r\nNOTE-ERROR"
end:    .asciz "\r\n"
        .org 440
