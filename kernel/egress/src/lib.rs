//! The one door to the network: origins, address filter, credential injection, caps, leak scan.
