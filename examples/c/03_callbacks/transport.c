#include "transport.h"

/* MPI counts elements with an int, so that a long blob goes in pieces. */
enum { PIECE = 1 << 30 };

static int broadcast(uint8_t *data, uint64_t size, MPI_Comm comm)
{
    for (uint64_t sent = 0; sent < size; sent += PIECE) {
        const uint64_t rest = size - sent;
        if (MPI_Bcast(data + sent, rest < PIECE ? (int)rest : PIECE, MPI_BYTE, 0, comm) != MPI_SUCCESS)
            return 1;
    }
    return 0;
}

/* The size is announced first; the bytes follow only if every receiver has room for them. */
static int announce(uint64_t *size, MPI_Comm comm)
{
    return MPI_Bcast(size, 1, MPI_UINT64_T, 0, comm) != MPI_SUCCESS;
}

static int all_ready(int ready, MPI_Comm comm)
{
    MPI_Allreduce(MPI_IN_PLACE, &ready, 1, MPI_INT, MPI_MIN, comm);
    return ready;
}

int32_t transport_send(void *user_data, const uint8_t *data, size_t size)
{
    struct transport *const transport = user_data;
    uint64_t announced = size;
    transport->used = 1;
    if (announce(&announced, transport->comm) || !all_ready(1, transport->comm))
        return 1;
    /* MPI_Bcast takes a pointer to non-const on every rank, and does not write through it on the root. */
    return broadcast((uint8_t *)data, announced, transport->comm);
}

int32_t transport_receive(void *user_data, dijitso_blob *blob)
{
    struct transport *const transport = user_data;
    uint64_t announced = 0;
    uint8_t *room;
    transport->used = 1;
    if (announce(&announced, transport->comm))
        return 1;
    room = announced <= SIZE_MAX ? dijitso_blob_resize(blob, (size_t)announced) : NULL;
    if (!all_ready(room != NULL, transport->comm))
        return 1;
    return broadcast(room, announced, transport->comm);
}

int32_t transport_wait(void *user_data)
{
    struct transport *const transport = user_data;
    transport->used = 1;
    return MPI_Barrier(transport->comm) != MPI_SUCCESS;
}
