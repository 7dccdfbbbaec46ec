import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.transport.Netty4Plugin;

/** One OpenSearch node on 127.0.0.1, without the installation that its own main class wants. */
public class Node extends org.opensearch.node.Node {
    Node(Environment environment) {
        super(environment, List.of(Netty4Plugin.class), false);
    }

    /** Arguments: folder, port of HTTP, port of the transport. */
    public static void main(String[] arguments) throws Exception {
        Settings settings = Settings.builder()
            .put("path.home", arguments[0])
            .put("http.port", arguments[1])
            .put("transport.port", arguments[2])
            .put("network.host", "127.0.0.1")
            .put("discovery.type", "single-node")
            .put("http.type", "netty4")
            .put("transport.type", "netty4")
            .put("action.auto_create_index", "logs-*")
            .put("cluster.routing.allocation.disk.threshold_enabled", "false")
            .build();
        Path config = Path.of(arguments[0], "config");
        Node node = new Node(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), config, () -> "test"));
        node.start();
        Thread.currentThread().join();
    }
}
