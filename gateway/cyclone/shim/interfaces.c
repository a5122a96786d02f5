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

/* Whether containers or virtual machines have made the interface. Such interfaces come last: there is room for a few
   only, and a robot is seldom behind them. */
static bool roverline_is_virtual (const char *name)
{
  static const char *const prefixes[] = { "docker", "podman", "br-", "veth", "virbr", "cni", "flannel", "lxc", "lxd", "vmnet", "vboxnet" };
  for (size_t i = 0; i < sizeof (prefixes) / sizeof (prefixes[0]); i++)
    if (strncmp (name, prefixes[i], strlen (prefixes[i])) == 0)
      return true;
  return false;
}

/* Whether an entry is the IPv4 address of an interface that is up and can multicast, loopback aside. */
static bool roverline_is_usable (const struct ifaddrs *list, const struct ifaddrs *entry)
{
  const unsigned required = IFF_UP | IFF_MULTICAST;
  if (entry->ifa_addr == NULL || entry->ifa_addr->sa_family != AF_INET)
    return false;
  if ((entry->ifa_flags & required) != required || (entry->ifa_flags & IFF_LOOPBACK))
    return false;
  return !roverline_is_repeated (list, entry);
}

/* Calls `each` with the IPv4 address (in network byte order) of every such interface, virtual ones last. */
int32_t roverline_multicast_interfaces (roverline_address_fn each, void *context)
{
  struct ifaddrs *list;
  if (getifaddrs (&list) != 0)
    return -1;
  for (int is_virtual = 0; is_virtual <= 1; is_virtual++)
  {
    for (const struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next)
    {
      struct sockaddr_in address;
      if (!roverline_is_usable (list, entry) || roverline_is_virtual (entry->ifa_name) != is_virtual)
        continue;
      memcpy (&address, entry->ifa_addr, sizeof (address));
      each (context, address.sin_addr.s_addr);
    }
  }
  freeifaddrs (list);
  return 0;
}
