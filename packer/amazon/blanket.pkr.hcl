# An AMI of the artefact that ./dev image --format vmdk made. EC2's import keeps a copy in the bucket, and takes it away again.
#   packer build -var image=blanket-VERSION-amd64.vmdk -var bucket=BUCKET -var region=eu-central-1 packer/amazon
variable "image" {
  type = string
}

variable "bucket" {
  type = string
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "access_key" {
  type    = string
  default = ""
}

variable "secret_key" {
  type      = string
  default   = ""
  sensitive = true
}

source "null" "blanket" {
  communicator = "none"
}

build {
  sources = ["source.null.blanket"]

  provisioner "shell-local" {
    inline = ["test -s '${var.image}'"]
  }

  post-processors {
    post-processor "artifice" {
      files = [var.image]
    }

    post-processor "amazon-import" {
      access_key     = var.access_key
      secret_key     = var.secret_key
      region         = var.region
      s3_bucket_name = var.bucket
      format         = "vmdk"
      ami_name       = "blanket-{{timestamp}}"
      license_type   = "BYOL"
      tags = {
        Description = "Blanket"
      }
    }

    post-processor "manifest" {
      output = "packer-manifest.json"
    }
  }
}
