/* Taking samples from a reader. */
#include "dds/dds.h"

#include "sample.h"

/* Takes up to `most` samples, at most ROVERLINE_TAKE_SAMPLES. Returns how many were taken, or an error; `valid`
   counts those of them that are messages. Disposals are taken too, and dropped. */
int32_t roverline_take (roverline_handle reader, struct roverline_sample *samples, uint32_t most, uint32_t *valid)
{
  struct ddsi_serdata *taken[ROVERLINE_TAKE_SAMPLES];
  dds_sample_info_t infos[ROVERLINE_TAKE_SAMPLES];
  const uint32_t limit = most < ROVERLINE_TAKE_SAMPLES ? most : ROVERLINE_TAKE_SAMPLES;
  *valid = 0;
  const dds_return_t count = dds_takecdr (reader, taken, limit, infos, DDS_ANY_STATE);
  for (dds_return_t i = 0; i < count; i++)
  {
    if (infos[i].valid_data && roverline_describe (taken[i], &samples[*valid]))
      ++*valid;
    else
      ddsi_serdata_unref (taken[i]);
  }
  return count;
}
