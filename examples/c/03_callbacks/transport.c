#include "transport.h"

/* MPI counts elements in an int, so a long blob is sent in pieces. */
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

/* Sends the size before the bytes, which follow only if every receiver has room for them. */
static int broadcast_size(uint64_t *size, MPI_Comm comm)
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
    uint64_t length = size;
    transport->called = 1;
    if (broadcast_size(&length, transport->comm) || !all_ready(1, transport->comm))
        return 1;
    /* MPI_Bcast takes a pointer to non-const data, but does not write to it on the root. */
    return broadcast((uint8_t *)data, length, transport->comm);
}

int32_t transport_receive(void *user_data, dijitso_blob *blob)
{
    struct transport *const transport = user_data;
    uint64_t length = 0;
    uint8_t *data;
    transport->called = 1;
    if (broadcast_size(&length, transport->comm))
        return 1;
    data = length <= SIZE_MAX ? dijitso_blob_resize(blob, (size_t)length) : NULL;
    if (!all_ready(data != NULL, transport->comm))
        return 1;
    return broadcast(data, length, transport->comm);
}

int32_t transport_wait(void *user_data)
{
    struct transport *const transport = user_data;
    transport->called = 1;
    return MPI_Barrier(transport->comm) != MPI_SUCCESS;
}
