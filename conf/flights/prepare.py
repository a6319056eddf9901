"""Flights say their clock times in local time; here they get the instants at which things could be known."""

from __future__ import annotations

from itertools import chain

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Time zone of each destination of 2013, as IANA names.
DESTINATIONS = {
    "America/New_York": (
        "ACK ALB ATL AVL BDL BGR BOS BTV BUF BWI CAE CAK CHO CHS CLE CLT CMH CRW CVG DAY DCA DTW EYW FLL GRR "
        "GSO GSP IAD ILM IND JAX LEX LGA MCO MHT MIA MVY MYR ORF PBI PHL PIT PVD PWM RDU RIC ROC RSW SAV SBN "
        "SDF SRQ SYR TPA TVC TYS"
    ),
    "America/Chicago": "AUS BHM BNA DFW DSM HOU IAH MCI MDW MEM MKE MSN MSP MSY OKC OMA ORD SAT STL TUL XNA",
    "America/Denver": "ABQ BZN DEN EGE HDN JAC MTJ SLC",
    "America/Phoenix": "PHX",
    "America/Los_Angeles": "BUR LAS LAX LGB OAK PDX PSP SAN SEA SFO SJC SMF SNA",
    "America/Anchorage": "ANC",
    "Pacific/Honolulu": "HNL",
    "America/Puerto_Rico": "BQN PSE SJU STT",
}

# A destination of unknown zone counts as reached this long after its time in the air: more than any flight
# of 2013 spent taxiing (235 minutes), so that nothing is taken as known too early.
LONGEST_TAXI_MINUTES = 240


def with_flight_instants(flights: DataFrame) -> DataFrame:
    """Add the UTC instants of a flight: scheduled departure, departure known, arrival known.

    Grain: one row a flight, unchanged. ``departure_known_ts`` is when it left the gate and
    ``arrival_known_ts`` when it reached the gate at its destination; null where it did not.
    """
    sched_dep_ts = F.timestamp_add("MINUTE", F.col("minute"), F.col("time_hour"))
    departure = F.timestamp_add("MINUTE", F.col("dep_delay").cast("int"), sched_dep_ts)
    return flights.select(
        "*",
        sched_dep_ts.alias("sched_dep_ts"),
        departure.alias("departure_known_ts"),
        F.when(
            F.col("arr_delay").isNotNull(),
            F.timestamp_add("MINUTE", _minutes_to_gate(departure), departure),
        ).alias("arrival_known_ts"),
    )


def _minutes_to_gate(departure: Column) -> Column:
    """Minutes from gate to gate: the local clocks of both ends, brought to the destination's zone."""
    zones = {airport: zone for zone, airports in DESTINATIONS.items() for airport in airports.split()}
    zone_of = F.create_map([F.lit(text) for text in chain.from_iterable(zones.items())])
    zone = F.try_element_at(zone_of, F.col("dest"))
    departed = F.from_utc_timestamp(departure, F.coalesce(zone, F.lit("UTC")))
    departed_minute = F.hour(departed) * 60 + F.minute(departed)
    arrived_minute = F.expr("arr_time div 100 * 60 + arr_time % 100")
    by_clocks = F.pmod(arrived_minute - departed_minute, F.lit(1440)).cast("int")
    at_most = (F.col("air_time") + F.lit(LONGEST_TAXI_MINUTES)).cast("int")
    return F.when(zone.isNotNull(), by_clocks).otherwise(at_most)
