# Your own variant of the appliance: boots it under QEMU, runs your scripts in it, and gives a qcow2 that has no identity of its own again.
#   packer build -var image=blanket-VERSION-amd64.qcow2 -var 'scripts=["mine.sh"]' packer/qemu
variable "image" {
  type        = string
  description = "The appliance's qcow2."
}

variable "scripts" {
  type        = list(string)
  default     = []
  description = "Run as root in the appliance, in this order."
}

variable "output" {
  type    = string
  default = "blanket-variant"
}

variable "accelerator" {
  type        = string
  default     = "tcg"
  description = "kvm where the machine has it; under tcg a build takes some five minutes."
}

variable "ssh_key" {
  type        = string
  description = "A private key without a passphrase; its public half is in the seed."
}

variable "seed" {
  type        = string
  description = "A NoCloud seed (packer/seed makes one) that lets this key in."
}

source "qemu" "blanket" {
  iso_url              = var.image
  iso_checksum         = "none"
  disk_image           = true
  use_backing_file     = false
  format               = "qcow2"
  disk_compression     = true
  skip_compaction      = false
  disk_size            = "6G"
  accelerator          = var.accelerator
  headless             = true
  machine_type         = "q35"
  memory               = 2048
  net_device           = "virtio-net"
  disk_interface       = "virtio"
  output_directory     = var.output
  vm_name              = "blanket.qcow2"
  ssh_username         = "root"
  ssh_private_key_file = var.ssh_key
  ssh_timeout          = "15m"
  shutdown_command     = "systemctl poweroff"
  shutdown_timeout     = "5m"
  qemuargs = [
    ["-cpu", "max"],
    ["-drive", "file=${var.output}/blanket.qcow2,if=virtio,format=qcow2,cache=unsafe,discard=unmap"],
    ["-drive", "file=${var.seed},if=virtio,format=raw,readonly=on"],
  ]
}

build {
  sources = ["source.qemu.blanket"]

  provisioner "shell" {
    inline = ["cloud-init status --wait >/dev/null || true", "systemctl is-active --wait ssh"]
  }

  provisioner "shell" {
    scripts = concat(["${path.root}/hello.sh"], var.scripts)
  }

  provisioner "shell" {
    script = "${path.root}/forget.sh"
  }

  post-processor "checksum" {
    checksum_types = ["sha256"]
    output         = "${var.output}/SHA256SUMS"
  }

  post-processor "manifest" {
    output     = "${var.output}/packer-manifest.json"
    strip_path = true
  }
}
