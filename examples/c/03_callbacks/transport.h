/* Moves one blob from rank 0 of a communicator to its other ranks. Each function is a callback for dijitso, and
 * returns 0 on success. */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <dijitso.h>
#include <mpi.h>

struct transport {
    MPI_Comm comm; /* rank 0 is the builder */
    int called;    /* set when dijitso has called one of the functions below */
};

int32_t transport_send(void *transport, const uint8_t *data, size_t size);
int32_t transport_receive(void *transport, dijitso_blob *blob);
int32_t transport_wait(void *transport);

#endif
