"""Names of rclpy's quality-of-service events, which moved to another module after Humble."""

try:
    from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
except ImportError:
    from rclpy.qos_event import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks

__all__ = ["QoSRequestedIncompatibleQoSInfo", "SubscriptionEventCallbacks"]
