/* The network interfaces that participants use if none are named. CycloneDDS would choose one. */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "shim.h"

/* Whether an earlier entry of the list has the same interface: its first address stands for it. */
static bool roverline_is_repeated (const struct ifaddrs *list, const struct ifaddrs *entry)
{
  for (const struct ifaddrs *other = list; other != entry; other = other->ifa_next)
    if (other->ifa_addr && other->ifa_addr->sa_family == AF_INET && strcmp (other->ifa_name, entry->ifa_name) == 0)
      return true;
  return false;
}

/* Calls `each` with the IPv4 address (in network byte order) of every interface that is up and can multicast,
   loopback aside. */
int32_t roverline_multicast_interfaces (roverline_address_fn each, void *context)
{
  const unsigned required = IFF_UP | IFF_MULTICAST;
  struct ifaddrs *list;
  if (getifaddrs (&list) != 0)
    return -1;
  for (const struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next)
  {
    struct sockaddr_in address;
    if (entry->ifa_addr == NULL || entry->ifa_addr->sa_family != AF_INET)
      continue;
    if ((entry->ifa_flags & required) != required || (entry->ifa_flags & IFF_LOOPBACK))
      continue;
    if (roverline_is_repeated (list, entry))
      continue;
    memcpy (&address, entry->ifa_addr, sizeof (address));
    each (context, address.sin_addr.s_addr);
  }
  freeifaddrs (list);
  return 0;
}
