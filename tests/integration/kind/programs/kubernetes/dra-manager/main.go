// Kubelet's own manager of dynamic resources without kubelet: with kubelet's own finder of plugins it registers whoever
// listens in a folder, and does what lines of JSON on its input say, one answer a line. It speaks to a real API server.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"k8s.io/kubernetes/pkg/kubelet/cm/dra"
	draplugin "k8s.io/kubernetes/pkg/kubelet/cm/dra/plugin"
	"k8s.io/kubernetes/pkg/kubelet/pluginmanager"
)

type request struct {
	Do     string `json:"do"`
	Pod    string `json:"pod"`
	Claim  string `json:"claim"`
	Driver string `json:"driver"`
}

type answer struct {
	Error      string            `json:"error,omitempty"`
	CDI        []string          `json:"cdi,omitempty"`
	Health     map[string]string `json:"health,omitempty"`
	Registered bool              `json:"registered"`
}

type ready struct{}

func (ready) AddSource(string) {}
func (ready) AllReady() bool   { return true }

type harness struct {
	manager *dra.Manager
	lock    sync.Mutex
	pods    map[string]*v1.Pod
}

func (h *harness) active() []*v1.Pod {
	h.lock.Lock()
	defer h.lock.Unlock()
	pods := make([]*v1.Pod, 0, len(h.pods))
	for _, pod := range h.pods {
		pods = append(pods, pod)
	}
	return pods
}

// podOf makes a pod that uses one claim, which is called in it as it is called in the API.
func podOf(asked request) *v1.Pod {
	claim := asked.Claim
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: asked.Pod, Namespace: "default", UID: types.UID(asked.Pod)},
		Spec: v1.PodSpec{
			ResourceClaims: []v1.PodResourceClaim{{Name: claim, ResourceClaimName: &claim}},
			Containers: []v1.Container{{
				Name:      "main",
				Resources: v1.ResourceRequirements{Claims: []v1.ResourceClaim{{Name: claim}}},
			}},
		},
	}
}

func (h *harness) prepare(ctx context.Context, asked request) answer {
	pod := podOf(asked)
	h.lock.Lock()
	h.pods[asked.Pod] = pod
	h.lock.Unlock()
	if err := h.manager.PrepareResources(ctx, pod); err != nil {
		return answer{Error: err.Error()}
	}
	given, err := h.manager.GetResources(pod, &pod.Spec.Containers[0])
	if err != nil {
		return answer{Error: err.Error()}
	}
	var found answer
	for _, device := range given.CDIDevices {
		found.CDI = append(found.CDI, device.Name)
	}
	return found
}

func (h *harness) unprepare(ctx context.Context, asked request) answer {
	pod := podOf(asked)
	if err := h.manager.UnprepareResources(ctx, pod); err != nil {
		return answer{Error: err.Error()}
	}
	h.lock.Lock()
	delete(h.pods, asked.Pod)
	h.lock.Unlock()
	return answer{}
}

// health says what the pod's status would say of its devices.
func (h *harness) health(asked request) answer {
	status := v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{{Name: "main"}}}
	h.manager.UpdateAllocatedResourcesStatus(podOf(asked), &status)
	found := answer{Health: map[string]string{}}
	for _, resource := range status.ContainerStatuses[0].AllocatedResourcesStatus {
		for _, device := range resource.Resources {
			found.Health[string(device.ResourceID)] = string(device.Health)
		}
	}
	return found
}

func (h *harness) registered(asked request) answer {
	_, err := h.manager.GetWatcherHandler().(*draplugin.DRAPluginManager).GetPlugin(asked.Driver)
	return answer{Registered: err == nil}
}

func run() error {
	kubeconfig := flag.String("kubeconfig", "", "of the API server")
	node := flag.String("node", "", "name of the node")
	state := flag.String("state", "", "folder of what it keeps")
	plugins := flag.String("plugins", "", "folder of plugins' sockets")
	klog.InitFlags(nil)
	flag.Parse()
	ctx := context.Background()
	// Health in the status of pods is off by default in this version.
	if err := utilfeature.DefaultMutableFeatureGate.Set("ResourceHealthStatus=true"); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	manager, err := dra.NewManager(klog.FromContext(ctx), client, *state)
	if err != nil {
		return err
	}
	h := &harness{manager: manager, pods: map[string]*v1.Pod{}}
	getNode := func() (*v1.Node, error) { return client.CoreV1().Nodes().Get(ctx, *node, metav1.GetOptions{}) }
	if err := manager.Start(ctx, h.active, getNode, ready{}); err != nil {
		return err
	}
	finder := pluginmanager.NewPluginManager(*plugins, &record.FakeRecorder{})
	finder.AddHandler(registerapi.DRAPlugin, manager.GetWatcherHandler())
	go finder.Run(ready{}, ctx.Done())
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := out.Encode(h.answer(ctx, lines.Bytes())); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (h *harness) answer(ctx context.Context, line []byte) answer {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{Error: err.Error()}
	}
	switch asked.Do {
	case "prepare":
		return h.prepare(ctx, asked)
	case "unprepare":
		return h.unprepare(ctx, asked)
	case "health":
		return h.health(asked)
	case "registered":
		return h.registered(asked)
	}
	return answer{Error: "nobody knows that word"}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
